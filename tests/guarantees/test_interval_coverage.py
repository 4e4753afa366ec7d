"""The promise: 95 % intervals of accuracies hold the truth at least 93 times in 100."""

import pytest

from tests.guarantees.simulated import coverage, coverage_in_groups

pytestmark = pytest.mark.slow

SIZES = pytest.mark.parametrize("num_images", [50, 200, 650])
ACCURACIES = pytest.mark.parametrize("accuracy", [0.8, 0.95, 0.99])


@SIZES
@ACCURACIES
@pytest.mark.parametrize("weights", ["equal", "confident", "balancing"])
def test_intervals_of_independent_images_cover(
    num_images: int, accuracy: float, weights: str
) -> None:
    assert coverage(num_images, accuracy, num_sets=1000, seed=0, weights=weights) >= 0.93


@SIZES
@ACCURACIES
@pytest.mark.parametrize("num_groups", [5, 10, 40])
@pytest.mark.parametrize("correlation", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("unequal", [False, True])
def test_intervals_of_images_in_groups_cover(
    num_images: int, accuracy: float, num_groups: int, correlation: float, unequal: bool
) -> None:
    found = coverage_in_groups(
        num_images,
        accuracy,
        num_groups,
        correlation=correlation,
        num_sets=1000,
        seed=0,
        unequal=unequal,
    )
    assert found >= 0.93
