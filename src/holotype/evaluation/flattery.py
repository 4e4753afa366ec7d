"""How much a random split flatters: the same head, dealt with and without regard to groups.

Two pictures of one specimen resemble each other more than two specimens do. Where one of them
trains and the other is tested, a classifier that knows specimens by heart seems to know species.

Shape suffixes: N pictures, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import Estimate, Units, proportion


@dataclass(frozen=True)
class Flattery:
    """Accuracy out of fold of one head on the same pictures, dealt in two ways.

    Attributes:
        ignoring: pictures of one group may stand on both sides; every picture counts as one.
        keeping: a group is never on both sides; the group is what is independent.
        num_images: how many pictures were judged in both.
        num_groups: how many groups they come from.
    """

    ignoring: Estimate
    keeping: Estimate
    num_images: int
    num_groups: int

    @property
    def gap(self) -> float:
        """By how much the score falls when groups are kept together; a difference of fractions."""
        assert self.ignoring.value is not None
        assert self.keeping.value is not None
        return self.ignoring.value - self.keeping.value

    def sentence(self) -> str:
        """For the report; what the figure shows in words."""
        ignoring, keeping = _percent(self.ignoring), _percent(self.keeping)
        head = (
            f"A linear head on the frozen network, judged out of fold on {self.num_images:,} "
            f"pictures of {self.num_groups:,} groups."
        )
        low, high = self.keeping.low or 0.0, self.keeping.high or 0.0
        assert self.ignoring.value is not None
        if low <= self.ignoring.value <= high:
            return (
                f"{head} With the groups ignored it reaches {ignoring}; on groups that it never "
                f"saw, {keeping}: a difference within the interval."
            )
        return (
            f"{head} If the groups were ignored, it would seem to reach {ignoring}; on groups "
            f"that it never saw it reaches {keeping}."
        )


def flattery(
    ignoring_NC: NDArray[np.float64],
    keeping_NC: NDArray[np.float64],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    units: Units,
) -> Flattery:
    """Both accuracies with their intervals.

    Args:
        ignoring_NC, keeping_NC: out-of-fold probabilities of the same pictures; rows of NaN
            could not be judged, and are left out of both.
        units: the groups.
    """
    judged = np.isfinite(ignoring_NC).all(axis=1) & np.isfinite(keeping_NC).all(axis=1)
    judged &= weights_N > 0
    of_group_N = np.unique(units.unit_N[judged], return_inverse=True)[1]
    num_groups = int(of_group_N.max(initial=-1)) + 1
    groups = Units(of_group_N.astype(np.int64), num_groups, True)

    def accuracy(probabilities_NC: NDArray[np.float64], independent: Units) -> Estimate:
        correct_N = probabilities_NC[judged].argmax(axis=1) == targets_N[judged]
        return proportion(correct_N, weights_N[judged], independent)

    return Flattery(
        ignoring=accuracy(ignoring_NC, Units.images(int(judged.sum()))),
        keeping=accuracy(keeping_NC, groups),
        num_images=int(judged.sum()),
        num_groups=num_groups,
    )


def _percent(estimate: Estimate) -> str:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"
