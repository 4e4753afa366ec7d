"""The promise: of equal classifiers a comparison names a difference at most 5 times in 100."""

import pytest
from scipy.stats import binom

from benchmarks.comparison_errors import SETTINGS, errors, power

pytestmark = pytest.mark.slow

COMPARISONS = 300
MOST = int(binom.ppf(0.999, COMPARISONS, 0.05))  # what a rate of 5 % gives, but once in a thousand


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("models", [2, 5])
def test_equal_classifiers_are_told_apart_at_most_once_in_twenty(setting: str, models: int) -> None:
    found = errors(setting, COMPARISONS, seed=1, models=models)
    assert found.pairs <= MOST
    assert found.overall <= MOST
    assert found.either == found.overall  # no pair is named that the overall test does not see
    assert found.covered > 0.93


def test_the_correction_is_needed() -> None:
    assert errors("plain", COMPARISONS, seed=1).uncorrected > MOST


def test_a_large_difference_is_found() -> None:
    from_one, from_all = power("plain", 0.12, 50)
    assert from_one > 45
    assert from_all > 25
