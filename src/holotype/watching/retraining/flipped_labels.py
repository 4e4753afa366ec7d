"""Are the new labels as right as the old ones? A burst of wrong ones must not train.

Three judge a label who have not seen it: the champion; a linear head on its embeddings, fitted on
old and new labels but for some of the images; and one fitted on other new labels alone. It is
suspected where the first head gives it little and is sure of another class, and either the head of
new labels says the same class, or the champion does and the head of new labels does not find the
label likelier. The champion alone would suspect every image of a drift that it does not know; the
heads have seen the other new labels, and learn what the drift looks like.

How often that happens among old labels says how often it may happen among new ones. More is refused
where it is too much to be chance.

Not found: labels that are wrong in one way throughout, such as all of one class for another. They
are like a drift; the fixed test and the fresh labels have the last word.

Shape suffixes: N images, C classes, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import SamplingUnits
from holotype.training.heads.cross_val_predict import out_of_fold_predictions
from holotype.training.heads.training_data import TrainingData

SIGNIFICANCE = 0.01
MIN_SUSPECTED = 3  # fewer are named, and no burst
SURE, LITTLE = 0.5, 0.1  # probability of the other class at least, of the label at most
MAX_OLD = 5000  # images that the head learns from; of more, a random sample
_CS = (0.001, 0.01, 0.1)
_FOLDS = 5
_MAX_WEIGHT = 20.0  # of a new image, when new ones together weigh as much as old ones


@dataclass(frozen=True)
class SuspectedFlip:
    """A new label that is probably wrong.

    Attributes:
        path: of the image.
        given, suggested: its label, and what is said instead.
        probability_given, probability_suggested: by the head that was fitted on other labels.
    """

    path: str
    given: str
    suggested: str
    probability_given: float
    probability_suggested: float

    @property
    def evidence(self) -> str:
        return (
            f"labelled {self.given!r}; by the other labels: {self.suggested!r} "
            f"{self.probability_suggested:.0%}, {self.given!r} {self.probability_given:.1%}"
        )


@dataclass(frozen=True)
class LabelCheck:
    """What was found among the new labels.

    Attributes:
        suspected: the surest first.
        units, suspected_units: independent images or groups among the new ones, and those of
            them with a suspected label in at least half of their images.
        old_units, old_suspected_units: the same of the old ones, in validation and test.
        p_value: the chance of as many suspected units, if new labels were as right as old ones.
    """

    suspected: tuple[SuspectedFlip, ...]
    units: int
    suspected_units: int
    old_units: int
    old_suspected_units: int
    p_value: float

    @property
    def is_burst(self) -> bool:
        return self.suspected_units >= MIN_SUSPECTED and self.p_value < SIGNIFICANCE

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self), "suspected": [vars(each) for each in self.suspected],
            "is_burst": self.is_burst,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class LabelledEmbeddings:
    """Old and new images with their labels, as the champion sees them.

    Attributes:
        paths: N.
        embeddings_ND: float32, of the champion.
        probabilities_NC: its probabilities.
        targets_N: class numbers, positions in `classes`.
        is_new_N: whether the label came after it was trained.
        is_held_out_N: of old ones, whether it did not train on them.
        groups: of images that belong together: copies, and images of one group.
        classes: names; the champion's first.
    """

    paths: Sequence[str]
    embeddings_ND: NDArray[np.float32]
    probabilities_NC: NDArray[np.float64]
    targets_N: NDArray[np.int64]
    is_new_N: NDArray[np.bool_]
    is_held_out_N: NDArray[np.bool_]
    groups: Sequence[str]
    classes: Sequence[str]


def check_new_labels(labelled: LabelledEmbeddings) -> LabelCheck:
    """Suspected labels among the new ones, and whether they are a burst.

    Source:
        The rate of old labels has a Beta(½, ½) prior (Jeffreys), so the number among new ones is
        beta-binomial: with few old labels it takes more to refuse.
    """
    head_NC, suggested_N, is_suspected_N = _suspected(labelled)
    old_N = ~labelled.is_new_N & labelled.is_held_out_N
    units, suspected_units = _count_units(labelled.groups, labelled.is_new_N, is_suspected_N)
    old_units, old_suspected = _count_units(labelled.groups, old_N, is_suspected_N)
    suspected = [
        SuspectedFlip(
            labelled.paths[n], labelled.classes[labelled.targets_N[n]],
            labelled.classes[suggested_N[n]], float(head_NC[n, labelled.targets_N[n]]),
            float(head_NC[n, suggested_N[n]]),
        )
        for n in np.flatnonzero(is_suspected_N & labelled.is_new_N).tolist()
    ]  # fmt: skip
    suspected.sort(key=lambda each: (-each.probability_suggested, each.path))
    p_value = chance_of_as_many(suspected_units, units, old_suspected, old_units)
    return LabelCheck(tuple(suspected), units, suspected_units, old_units, old_suspected, p_value)


def chance_of_as_many(suspected: int, units: int, old_suspected: int, old_units: int) -> float:
    """The chance of at least so many among new units, at the rate of the old ones.

    Example:
        >>> round(chance_of_as_many(0, 50, 1, 300), 3)
        1.0
        >>> chance_of_as_many(5, 50, 1, 300) < 0.01
        True
    """
    from scipy.stats import betabinom

    if not units:
        return 1.0
    rate = betabinom(units, old_suspected + 0.5, old_units - old_suspected + 0.5)
    return float(rate.sf(suspected - 1))


def _suspected(
    labelled: LabelledEmbeddings,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """What the head says of every image (N, C), the other class, and whether it is suspected."""
    targets_N, is_new_N = labelled.targets_N, labelled.is_new_N
    N, C = len(targets_N), len(labelled.classes)
    rows_N, num_new = np.arange(N), int(is_new_N.sum())
    weight = min(_MAX_WEIGHT, max(1.0, (N - num_new) / max(1, num_new)))
    data = TrainingData(
        labelled.embeddings_ND, targets_N, np.where(is_new_N, weight, 1.0), labelled.groups, C
    )
    head = out_of_fold_predictions(data, Cs=_CS, folds=_FOLDS, seed=0)
    head_NC = np.nan_to_num(head.probabilities_NC)
    suggested_N = head_NC.argmax(axis=1)
    is_suspected_N = (
        (head_NC[rows_N, suggested_N] >= SURE) & (head_NC[rows_N, targets_N] <= LITTLE)
        & head.class_was_seen_N
    )  # fmt: skip
    champion_says_N = labelled.probabilities_NC.argmax(axis=1) == suggested_N
    is_suspected_N[~is_new_N] &= champion_says_N[~is_new_N]
    new = np.flatnonzero(is_new_N)
    of_new_MC = np.zeros((num_new, C))
    if len(np.unique(targets_N[new])) > 1:
        of_new = out_of_fold_predictions(data.rows(new), Cs=_CS, folds=_FOLDS, seed=0)
        of_new_MC = np.nan_to_num(of_new.probabilities_NC)
    rows_M = np.arange(num_new)
    given_M, other_M = of_new_MC[rows_M, targets_N[new]], of_new_MC[rows_M, suggested_N[new]]
    new_say_M = (of_new_MC.argmax(axis=1) == suggested_N[new]) & (other_M > 0)
    is_suspected_N[new] &= new_say_M | (champion_says_N[new] & (given_M <= other_M))
    return head_NC, suggested_N, is_suspected_N


def _count_units(
    groups: Sequence[str], chosen_N: NDArray[np.bool_], is_suspected_N: NDArray[np.bool_]
) -> tuple[int, int]:
    """Independent units among the chosen images, and those that are suspected by half or more."""
    rows = np.flatnonzero(chosen_N)
    units = SamplingUnits.of_groups([groups[row] for row in rows.tolist()])
    suspected_U = np.bincount(units.unit_N, is_suspected_N[rows], minlength=units.count)
    images_U = np.bincount(units.unit_N, minlength=units.count)
    return units.count, int((suspected_U >= 0.5 * images_U).sum()) if units.count else 0
