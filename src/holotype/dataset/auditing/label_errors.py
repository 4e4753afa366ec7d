"""Which labels are probably wrong, and how many of them there are.

Confident learning (Northcutt, Jiang and Chuang 2021, as cleanlab implements it) on probabilities
from a classifier that had not learnt from the image it judges. Values go in and values come
out: what made the probabilities is not known here.

Shape suffixes: N images, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of the interval of the noise rate
_RESAMPLES = 200

Floats = NDArray[np.float64]
Targets = NDArray[np.int64]


@dataclass(frozen=True)
class SuspectedLabelError:
    """A label that is probably wrong.

    Attributes:
        path: of the image.
        given: its label.
        suggested: the class that is most probable instead.
        probability_given, probability_suggested: what the classifier thought of either, in [0, 1].
        weight: of the image; below 1 where its label was given as unsure.
    """

    path: str
    given: str
    suggested: str
    probability_given: float
    probability_suggested: float
    weight: float

    @property
    def evidence(self) -> str:
        """What speaks against the label, for people."""
        unsure = f"; its weight is {self.weight:.2g}" if self.weight < 1 else ""
        return (
            f"labelled {self.given!r}; a classifier that had not seen it says {self.suggested!r} "
            f"with {self.probability_suggested:.0%}, {self.given!r} with "
            f"{self.probability_given:.1%}{unsure}"
        )


@dataclass(frozen=True)
class NoiseRate:
    """The estimated share of wrong labels.

    Attributes:
        value: halfway between the two counts of `noise_rate_bounds`.
        low, high: a 95 % interval; see `noise_rate`.
        num_images: how many images it rests on.
    """

    value: float
    low: float
    high: float
    num_images: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def beats_class_prior(probabilities_NC: Floats, targets_N: Targets, weights_N: Floats) -> bool:
    """Whether the probabilities know more of the labels than how common each class is.

    If they do not, they have no business with accusing a label. Asked is the gain in log
    likelihood over the shares of the classes, which must be larger than three standard errors.
    """
    if weights_N.sum() <= 0:
        return False
    share_C = np.bincount(targets_N, weights_N, minlength=probabilities_NC.shape[1])
    share_C = share_C / share_C.sum()
    given_N = probabilities_NC[np.arange(len(targets_N)), targets_N]
    # Capped, so that a few labels that are utterly wrong cannot outvote all others.
    gain_N = np.log(np.maximum(given_N, 1e-3)) - np.log(np.maximum(share_C[targets_N], 1e-12))
    mean = float(np.average(gain_N, weights=weights_N))
    error = math.sqrt(float(weights_N**2 @ (gain_N - mean) ** 2)) / float(weights_N.sum())
    return mean > 3 * error


def label_quality(probabilities_NC: Floats, targets_N: Targets) -> Floats:
    """How well each label agrees with the probabilities, in [0, 1]: cleanlab's self-confidence.

    This ranks: the lower, the more probably wrong. Which of the lowest are issues,
    `find_label_errors` decides.
    """
    from cleanlab.rank import get_label_quality_scores

    return np.asarray(
        get_label_quality_scores(targets_N, probabilities_NC, method="self_confidence")
    )


def find_label_errors(
    probabilities_NC: Floats,
    targets_N: Targets,
    *,
    paths: Sequence[str],
    classes: Sequence[str],
    weights_N: Floats,
) -> list[SuspectedLabelError]:
    """The labels that are probably wrong, the most probable first.

    As many as the confident joint counts off its diagonal, of those whose most probable class is
    another one, by the lowest self-confidence (cleanlab's `low_self_confidence`). Of cleanlab's
    filters this one was the most often right on planted errors, at equal recall.

    Args:
        probabilities_NC: out of fold; rows sum to 1 and are finite.
        targets_N: the given labels, as numbers of `classes`.
        weights_N: passed on to the findings; a doubted label is shown as such, not hidden.
    """
    from cleanlab.filter import find_label_issues

    if len(targets_N) == 0:
        return []
    is_issue_N = find_label_issues(
        targets_N, probabilities_NC, filter_by="low_self_confidence", n_jobs=1
    )
    quality_N = label_quality(probabilities_NC, targets_N)
    suggested_N = probabilities_NC.argmax(axis=1)
    rows = sorted(np.flatnonzero(is_issue_N).tolist(), key=lambda n: (quality_N[n], paths[n]))
    return [
        SuspectedLabelError(
            path=paths[n],
            given=classes[targets_N[n]],
            suggested=classes[suggested_N[n]],
            probability_given=float(probabilities_NC[n, targets_N[n]]),
            probability_suggested=float(probabilities_NC[n, suggested_N[n]]),
            weight=float(weights_N[n]),
        )
        for n in rows
    ]


def noise_rate(
    probabilities_NC: Floats,
    targets_N: Targets,
    weights_N: Floats,
    atomic_groups: Sequence[str],
    *,
    seed: int = 0,
) -> NoiseRate | None:
    """The share of wrong labels with an interval; None without images of two classes.

    Confident learning counts wrong labels in two ways, one of which tends to say too few and the
    other too many (`noise_rate_bounds`). The interval reaches from the 2.5th percentile of the
    lower to the 97.5th of the higher over bootstrap samples of whole atomic groups, so it holds
    both the luck of the sample and the disagreement of the two. Where no wrong label is seen, none
    is drawn either, so the upper end is never below the exact limit for none among so many atomic
    groups (Clopper and Pearson 1934). It takes the probabilities as they are. Where classes
    overlap, images that could be either count as wrong.

    Args:
        weights_N: what each image counts; one whose label is half sure counts half.
        atomic_groups: images of one atomic group (a group, copies) are drawn together; "" for none.
    """
    counted = weights_N > 0
    if len(np.unique(targets_N[counted])) < 2:
        return None
    probabilities_NC, targets_N = probabilities_NC[counted], targets_N[counted]
    names = [group or f"\0{n}" for n, group in enumerate(atomic_groups)]
    _, group_N = np.unique(np.array(names)[counted], return_inverse=True)
    rng = np.random.default_rng(seed)
    num_groups = int(group_N.max()) + 1
    draws = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=_RESAMPLES)
    counts = [noise_rate_bounds(probabilities_NC, targets_N, weights_N[counted])]
    counts += [
        noise_rate_bounds(probabilities_NC, targets_N, weights_N[counted] * draw[group_N])
        for draw in draws
    ]
    lower, upper = np.array(counts).T
    tail = (1 - CONFIDENCE) / 2
    value = float(lower[0] + upper[0]) / 2
    group_weights = np.bincount(group_N, weights_N[counted])
    effective_groups = float(group_weights.sum() ** 2 / (group_weights**2).sum())
    unseen = 1 - tail ** (1 / effective_groups)
    return NoiseRate(
        value=value,
        low=min(value, float(np.quantile(lower[1:], tail))),
        high=max(value, float(np.quantile(upper[1:], 1 - tail)), unseen),
        num_images=len(targets_N),
    )


def noise_rate_bounds(
    probabilities_NC: Floats, targets_N: Targets, weights_N: Floats
) -> tuple[float, float]:
    """The share of wrong labels as the confident joint counts it, and calibrated: (lower, upper).

    An image is confidently of class j if j's probability reaches the mean probability that
    images labelled j have for j; of several the most probable. Counting images confidently of
    another class than their label, unless that label is still the most probable, leaves out all
    that are confidently of none; scaling the counts of each label to all images that carry it
    puts these in, and more. With equal weights the two are cleanlab's `off_diagonal` and
    `off_diagonal_calibrated`, before rounding.
    """
    num_images, num_classes = probabilities_NC.shape
    given_NC = np.zeros((num_images, num_classes))
    given_NC[np.arange(num_images), targets_N] = weights_N
    weight_C = given_NC.sum(axis=0)
    own_C = (given_NC * probabilities_NC).sum(axis=0)
    # A class that nothing is labelled as has no threshold, and nothing is confidently of it.
    threshold_C = np.where(weight_C > 0, own_C / np.maximum(weight_C, 1e-300), np.inf)
    reached_NC = probabilities_NC >= threshold_C - 1e-6
    confident_N = reached_NC.any(axis=1)
    called_N = np.where(reached_NC, probabilities_NC, -1.0).argmax(axis=1)
    is_wrong_N = confident_N & (called_N != targets_N)
    lower = weights_N[is_wrong_N & (probabilities_NC.argmax(axis=1) != targets_N)].sum()
    joint_CC = np.zeros((num_classes, num_classes))
    np.add.at(joint_CC, (targets_N[confident_N], called_N[confident_N]), weights_N[confident_N])
    right_C, all_C = np.diagonal(joint_CC), joint_CC.sum(axis=1)
    # A label that nobody is confident about is taken as right.
    share_right_C = np.where(all_C > 0, right_C / np.maximum(all_C, 1e-300), 1.0)
    total = weight_C.sum()
    return float(lower / total), float(1 - (weight_C @ share_right_C) / total)
