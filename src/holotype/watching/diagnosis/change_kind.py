"""Which kind of change it is: input, label shift or novelty.

- Novelty: a part of the images is unlike the reference, the rest is what it was. Of the half of the
  reference that is least like the window, most of its share is still there, and the confidences of
  the window are not those that such images of the reference have.
- Label shift: the reference, with every class weighted so that it comes as often as in the window,
  can hardly be told from the window. Within a class the images are what they were.
- Input: all else; all images have changed, or some kinds of known images come more often.

An unseen class among 200 images is often called input, and sometimes label shift, so that the kind
is asked again of more (`take_windows`); docs/watching.md has how often changes were named rightly.

Shape suffixes: N images of the window, R of the reference, C classes, F features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.watching.diagnosis.class_shares import shares_by_confusion_C, shares_by_em_C
from holotype.watching.diagnosis.two_sample_tests import (
    DomainClassifier,
    domain_classifier,
    principal_components,
)
from holotype.watching.watch_status import ChangeKind
from holotype.watching.watched_images import WatchedImages

Floats = NDArray[np.float64]

EXPLAINED_Z = 2.5  # standard errors of the area under the curve that may be left
MOSTLY_EXPLAINED_Z = 4.0  # … where it takes away half of what can be told apart
MAX_WEIGHT = 20.0  # of an image of the reference
REMAINING_SHARE = 0.6  # of the least affected half of the reference, under novelty


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Shares of every class (C) in the reference, and estimates for the window.

    Attributes:
        reference_C: of true classes where they are known, else of answers.
        answered_C: of answers in the window.
        by_em_C, by_confusion_C: of true classes in the window, if only their mix changed; the
            latter is None where the confusion matrix cannot be inverted.
    """

    reference_C: Floats
    answered_C: Floats
    by_em_C: Floats
    by_confusion_C: Floats | None


@dataclass(frozen=True, eq=False)
class KindOfChange:
    """The kind of change, and what it was told by.

    Attributes:
        kind: if something has changed.
        shares: of the classes.
        plain, weighted: telling window and reference apart, as they are and with the reference
            weighted to the classes of the window.
        confidences: telling them apart by confidence, with the reference weighted to the images of
            the window: confidences that such images do not have.
        remaining: of the least affected half of the weighted reference, the share that is still
            there: 1 where nothing changed, 0 where every image did.
    """

    kind: ChangeKind
    shares: ClassShares
    plain: DomainClassifier
    weighted: DomainClassifier
    confidences: DomainClassifier
    remaining: float


def kind_of_change(window: WatchedImages, reference: WatchedImages) -> KindOfChange:
    """What a change of independent images would be called.

    Args:
        window, reference: of one classifier; at least 20 images each.
    """
    shares = class_shares(window, reference)
    known_R = _classes_R(reference)
    weights_R = (shares.by_em_C / np.clip(shares.reference_C, 1e-6, None))[known_R]
    weights_R = np.clip(weights_R, 1e-3, None)
    window_NF, reference_RF = features(window, reference)
    plain = domain_classifier(window_NF, reference_RF)
    weighted = domain_classifier(window_NF, reference_RF, weights_R)
    confidences = domain_classifier(
        _confidences(window), _confidences(reference), density_ratio_R(plain)
    )
    remaining = _remaining(weighted, weights_R)
    gains = weighted.auc - 0.5 < 0.5 * (plain.auc - 0.5)
    kind: ChangeKind = "input"
    if remaining >= REMAINING_SHARE and confidences.z > EXPLAINED_Z:
        kind = "novelty"
    elif weighted.z < (MOSTLY_EXPLAINED_Z if gains else EXPLAINED_Z):
        kind = "label shift"
    return KindOfChange(kind, shares, plain, weighted, confidences, remaining)


def class_shares(window: WatchedImages, reference: WatchedImages) -> ClassShares:
    """How often each class comes, by every account."""
    C = reference.probabilities_NC.shape[1]
    known_R = _classes_R(reference)
    reference_C = np.bincount(known_R, minlength=C) / len(reference)
    is_known = bool((reference.targets_N >= 0).all())
    return ClassShares(
        reference_C=reference_C,
        answered_C=np.bincount(window.predicted_N, minlength=C) / len(window),
        by_em_C=shares_by_em_C(window.probabilities_NC, reference_C),
        by_confusion_C=shares_by_confusion_C(
            window.predicted_N, reference.predicted_N, reference.targets_N, C
        )
        if is_known
        else None,
    )


def features(window: WatchedImages, reference: WatchedImages) -> tuple[Floats, Floats]:
    """What the domain classifier sees: embeddings where both have them, and the images' facts."""
    if window.embeddings_ND is not None and reference.embeddings_ND is not None:
        window_NF, reference_RF = principal_components(
            reference.embeddings_ND, window.embeddings_ND, reference.embeddings_ND
        )
    else:
        window_NF, reference_RF = (
            np.log(np.clip(each.probabilities_NC, 1e-6, 1)) for each in (window, reference)
        )
    of_reference = reference.fact_scores
    for name, fact_N in window.fact_scores.items():
        fact_R = of_reference[name]
        if np.isfinite(fact_N).all() and np.isfinite(fact_R).all():
            window_NF = np.column_stack([window_NF, fact_N])
            reference_RF = np.column_stack([reference_RF, fact_R])
    return window_NF, reference_RF


def density_ratio_R(found: DomainClassifier) -> Floats:
    """How much more often images like each reference image come in the window; the mean is 1."""
    clipped_R = np.minimum(found.odds_R, MAX_WEIGHT)
    return np.asarray(clipped_R / clipped_R.mean(), np.float64)


def _confidences(images: WatchedImages) -> Floats:
    """The two highest probabilities and the entropy of each image."""
    highest = -np.sort(-np.clip(images.probabilities_NC, 1e-6, 1), axis=1)
    entropy = -(highest * np.log(highest)).sum(axis=1)
    first = highest[:, 0]
    return np.column_stack([np.log(first / (1 - first + 1e-6)), np.log(highest[:, 1]), entropy])


def _classes_R(reference: WatchedImages) -> NDArray[np.int64]:
    """True classes, or answers where one is not known."""
    return np.where(reference.targets_N >= 0, reference.targets_N, reference.predicted_N)


def _remaining(found: DomainClassifier, weights_R: Floats) -> float:
    order = np.argsort(found.odds_R)
    upto_R = np.cumsum(weights_R[order]) / weights_R.sum()
    median = found.odds_R[order][np.searchsorted(upto_R, 0.5)]
    return float((found.odds_N <= median).mean() / 0.5)
