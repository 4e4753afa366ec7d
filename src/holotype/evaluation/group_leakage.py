"""How much a random split flatters: the same head, dealt with and without regard to groups.

Two images of one specimen resemble each other more than two specimens do. Where one of them
trains and the other is tested, a classifier that knows specimens by heart seems to know species.

Shape suffixes: N images, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion


@dataclass(frozen=True)
class GroupLeakage:
    """Accuracy out of fold of one head on the same images, dealt in two ways.

    Attributes:
        random_split: images of one group may stand on both sides; every image counts as one.
        grouped_split: a group is never on both sides; the group is what is independent.
        num_images: how many images were judged in both.
        num_groups: how many groups they come from.
    """

    random_split: Estimate
    grouped_split: Estimate
    num_images: int
    num_groups: int

    @property
    def gap(self) -> float:
        """By how much the score falls when groups are kept together; a difference of fractions."""
        assert self.random_split.value is not None
        assert self.grouped_split.value is not None
        return self.random_split.value - self.grouped_split.value

    def sentence(self) -> str:
        """For the report; what the figure shows in words."""
        random_split, grouped_split = _percent(self.random_split), _percent(self.grouped_split)
        head = (
            f"A linear head on the frozen network, judged out of fold on {self.num_images:,} "
            f"images of {self.num_groups:,} groups."
        )
        low, high = self.grouped_split.low or 0.0, self.grouped_split.high or 0.0
        assert self.random_split.value is not None
        if low <= self.random_split.value <= high:
            return (
                f"{head} With the groups ignored it reaches {random_split}; on groups that it "
                "never "
                f"saw, {grouped_split}: a difference within the interval."
            )
        return (
            f"{head} If the groups were ignored, it would seem to reach {random_split}; on groups "
            f"that it never saw it reaches {grouped_split}."
        )


def group_leakage(
    random_split_NC: NDArray[np.float64],
    grouped_split_NC: NDArray[np.float64],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    units: SamplingUnits,
) -> GroupLeakage:
    """Both accuracies with their intervals.

    Args:
        random_split_NC, grouped_split_NC: out-of-fold probabilities of the same images; rows of NaN
            could not be judged, and are left out of both.
        units: the groups.
    """
    judged = np.isfinite(random_split_NC).all(axis=1) & np.isfinite(grouped_split_NC).all(axis=1)
    judged &= weights_N > 0
    of_group_N = np.unique(units.unit_N[judged], return_inverse=True)[1]
    num_groups = int(of_group_N.max(initial=-1)) + 1
    groups = SamplingUnits(of_group_N.astype(np.int64), num_groups, True)

    def accuracy(probabilities_NC: NDArray[np.float64], independent: SamplingUnits) -> Estimate:
        correct_N = probabilities_NC[judged].argmax(axis=1) == targets_N[judged]
        return proportion(correct_N, weights_N[judged], independent)

    return GroupLeakage(
        random_split=accuracy(random_split_NC, SamplingUnits.images(int(judged.sum()))),
        grouped_split=accuracy(grouped_split_NC, groups),
        num_images=int(judged.sum()),
        num_groups=num_groups,
    )


def _percent(estimate: Estimate) -> str:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"
