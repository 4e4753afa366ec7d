"""Group leakage: how much a random split overestimates accuracy, compared with a grouped split.

Two images of one specimen are more alike than two specimens. Where one of them trains and the other
tests, a classifier that memorises specimens seems to know species.

Shape suffixes: N images, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion


@dataclass(frozen=True)
class GroupLeakage:
    """Accuracy out of fold of one linear head on the same images under two splits.

    Attributes:
        random_split: images of one group may be on both sides; interval over images.
        grouped_split: every group is on one side; interval over groups.
        num_images: how many images were predicted under both.
        num_groups: how many groups they come from.
    """

    random_split: Estimate
    grouped_split: Estimate
    num_images: int
    num_groups: int

    @property
    def gap(self) -> float:
        """Accuracy of the random split minus that of the grouped split."""
        assert self.random_split.value is not None
        assert self.grouped_split.value is not None
        return self.random_split.value - self.grouped_split.value

    def sentence(self) -> str:
        """Both accuracies in words."""
        random_split, grouped_split = _percent(self.random_split), _percent(self.grouped_split)
        low, high = self.grouped_split.low or 0.0, self.grouped_split.high or 0.0
        within = low <= (self.random_split.value or 0.0) <= high
        return (
            f"A linear head on the frozen network, tested out of fold on {self.num_images:,} "
            f"images of {self.num_groups:,} groups, reaches {random_split} with a random split "
            f"and {grouped_split} with a grouped split"
            f"{', a difference within the interval' if within else ''}."
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
        random_split_NC, grouped_split_NC: out-of-fold probabilities of the same images; images
            with NaN in either are left out of both.
        units: the groups.
    """
    known = np.isfinite(random_split_NC).all(axis=1) & np.isfinite(grouped_split_NC).all(axis=1)
    known &= weights_N > 0
    of_group_N = np.unique(units.unit_N[known], return_inverse=True)[1]
    num_groups = int(of_group_N.max(initial=-1)) + 1
    groups = SamplingUnits(of_group_N.astype(np.int64), num_groups, True)

    def accuracy(probabilities_NC: NDArray[np.float64], units: SamplingUnits) -> Estimate:
        correct_N = probabilities_NC[known].argmax(axis=1) == targets_N[known]
        return proportion(correct_N, weights_N[known], units)

    return GroupLeakage(
        random_split=accuracy(random_split_NC, SamplingUnits.images(int(known.sum()))),
        grouped_split=accuracy(grouped_split_NC, groups),
        num_images=int(known.sum()),
        num_groups=num_groups,
    )


def _percent(estimate: Estimate) -> str:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"
