"""The difference of two embeddings on the same queries."""

import numpy as np
import pytest

from holotype.comparison.retrieval.paired_difference import paired_difference
from holotype.errors import UsageError


def test_with_one_query_each_it_is_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    first_Q, second_Q = rng.random(30), rng.random(30)
    found = paired_difference(first_Q, second_Q, [str(n) for n in range(30)])
    low, high = ttest_rel(first_Q, second_Q).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(float((first_Q - second_Q).mean()))


def test_intervals_cover_where_images_of_an_individual_go_together() -> None:
    rng = np.random.default_rng(1)
    names = [str(n) for n in range(25) for _ in range(8)]
    covered, naive = 0, 0
    for _ in range(300):
        effect_Q = np.repeat(rng.normal(0.1, 1, 25), 8) + rng.normal(0, 0.3, 200)
        found = paired_difference(effect_Q, np.zeros(200), names)
        alone = paired_difference(effect_Q, np.zeros(200), [str(n) for n in range(200)])
        covered += found.low <= 0.1 <= found.high
        naive += alone.low <= 0.1 <= alone.high
    assert covered / 300 > 0.92
    assert naive / 300 < 0.7


def test_queries_without_an_answer_are_left_out_with_their_pair() -> None:
    nan = float("nan")
    found = paired_difference(
        np.array([1.0, nan, 0.5, 0.7]), np.array([0.5, 0.1, nan, 0.3]), ["a", "b", "c", "d"]
    )
    assert found.value == pytest.approx(0.45)
    with pytest.raises(UsageError, match="no query"):
        paired_difference(np.array([nan]), np.array([1.0]), ["a"])
    with pytest.raises(UsageError, match="1 and 2 scores of 1"):
        paired_difference(np.zeros(1), np.zeros(2), ["a"])
    assert paired_difference(np.ones(3), np.zeros(3), ["a"] * 3).low is None
