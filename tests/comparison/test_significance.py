"""The paired tests against statsmodels and scipy, and by hand."""

from itertools import product

import numpy as np
import pytest

from holotype.comparison.significance import (
    cochran_q,
    compare_all,
    compare_pairs,
    difference_interval,
    gain_at_least,
    holm,
    mcnemar_exact,
    ranks,
    sign_flip_tests,
)
from holotype.evaluation.intervals import SamplingUnits

TABLES = 1000


def _random_answers(rng: np.random.Generator) -> np.ndarray:
    """(M, N) right or wrong: classifiers and images of different quality."""
    M, N = int(rng.integers(2, 7)), int(rng.integers(3, 60))
    chance = rng.uniform(0.2, 1, size=(M, 1)) * rng.uniform(0.3, 1, size=N)
    return rng.random((M, N)) < chance


def test_mcnemar_agrees_with_statsmodels_on_random_tables() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    rng = np.random.default_rng(0)
    for _ in range(TABLES):
        first, second = _random_answers(rng)[:2]
        table = [[np.sum(f & s) for s in (second, ~second)] for f in (first, ~first)]
        expected = mcnemar(table, exact=True).pvalue
        actual = mcnemar_exact(second.astype(float) - first)
        assert actual == pytest.approx(expected, abs=1e-12)


def test_cochrans_q_agrees_with_statsmodels_on_random_tables() -> None:
    from statsmodels.stats.contingency_tables import cochrans_q

    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(TABLES):
        correct_MN = _random_answers(rng)
        actual = cochran_q(correct_MN)
        if (correct_MN == correct_MN[0]).all():
            assert (actual.statistic, actual.p_value) == (0.0, 1.0)  # there statsmodels says nan
            continue
        expected = cochrans_q(correct_MN.T.astype(int))
        assert actual.statistic == pytest.approx(expected.statistic)
        assert actual.p_value == pytest.approx(expected.pvalue)
        seen += 1
    assert seen > TABLES // 2


def test_holm_agrees_with_statsmodels_on_random_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    from statsmodels.stats.multitest import multipletests

    monkeypatch.setattr("gc.collect", lambda: 0)  # which it calls each time, for 0.2 seconds
    rng = np.random.default_rng(2)
    for _ in range(TABLES):
        p_values = rng.random(int(rng.integers(1, 20))) ** 3
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values.tolist()) == pytest.approx(expected.tolist())


def test_the_swap_test_agrees_with_scipys_permutation_test_on_random_tables() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(3)
    for _ in range(TABLES):
        sums_U = rng.integers(-4, 5, size=int(rng.integers(2, 9))).astype(float)
        result = permutation_test(
            (sums_U, np.zeros_like(sums_U)),
            lambda a, b, axis: np.sum(a - b, axis=axis),
            permutation_type="samples", n_resamples=np.inf, vectorized=True,
        )  # fmt: skip
        assert sign_flip_tests([sums_U])[0] == pytest.approx(result.pvalue)


def test_the_drawn_swap_test_comes_close_to_the_exact_one() -> None:
    rng = np.random.default_rng(4)
    sums_U = rng.normal(0.4, 1, size=16)
    signs = np.array(list(product([-1.0, 1.0], repeat=16)))
    exact = float(np.mean(np.abs(signs @ sums_U) >= abs(sums_U.sum()) - 1e-9))
    assert sign_flip_tests([sums_U], num_permutations=40_000)[0] == pytest.approx(exact, abs=0.01)


def test_tests_that_share_their_draws_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(7)
    few, many = np.zeros(30), rng.normal(0.2, 1, 30)
    few[:8] = rng.integers(-3, 4, 8)
    together = sign_flip_tests([few, many, np.zeros(30)])
    assert together == [sign_flip_tests([few])[0], sign_flip_tests([many])[0], 1.0]
    assert together[0] == sign_flip_tests([few[:8]])[0]  # all swaps of the units that differ


def test_the_spread_that_is_permuted_is_cochrans_q_where_images_are_equal() -> None:
    """Of given answers it is Q times a constant, so that permutations order both alike."""
    from statsmodels.stats.contingency_tables import cochrans_q

    rng = np.random.default_rng(8)
    for _ in range(TABLES):
        correct_MN = _random_answers(rng)
        M, N = correct_MN.shape
        alone = SamplingUnits(np.arange(N), N, True)
        actual = compare_all(correct_MN, np.ones(N), alone, num_permutations=1).statistic
        right_N = correct_MN.sum(axis=0)
        within = (right_N * (M - right_N)).sum()
        if within == 0:
            assert actual == pytest.approx(0)
            continue
        expected = cochrans_q(correct_MN.T.astype(int)).statistic
        assert actual * N**2 * M * (M - 1) / within == pytest.approx(expected)


def test_the_permuted_p_value_comes_close_to_scipys_over_all_permutations() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(9)
    for _ in range(20):
        units = SamplingUnits(np.repeat(np.arange(4), 5), 4, True)
        correct_MN, weights_N = rng.random((3, 20)) < 0.7, rng.choice([0.5, 1.0], 20)
        sums = [np.bincount(units.unit_N, row * weights_N) for row in correct_MN]
        exact = permutation_test(
            sums,
            lambda a, b, c, axis: np.var([a.sum(axis), b.sum(axis), c.sum(axis)], axis=0).round(9),
            permutation_type="samples", n_resamples=np.inf, alternative="greater", vectorized=True,
        ).pvalue  # fmt: skip
        actual = compare_all(correct_MN, weights_N, units, num_permutations=1500).p_value
        assert actual == pytest.approx(exact, abs=0.06)


def test_a_thousand_slices_of_five_specimens_count_as_five() -> None:
    units = SamplingUnits(np.repeat(np.arange(5), 200), 5, True)
    correct_MN = np.stack([np.zeros(1000, bool), np.ones(1000, bool)])
    (test,) = compare_pairs(correct_MN, np.ones(1000), units)
    assert test.p_value == pytest.approx(2 / 2**5)  # all five agree, either way
    assert "5 groups" in test.method


def test_weights_are_heard() -> None:
    correct_MN = np.array([[1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 1, 1]], bool)
    units = SamplingUnits.images(6)
    (equal,) = compare_pairs(correct_MN, np.ones(6), units)
    (weighted,) = compare_pairs(correct_MN, np.array([9, 9, 1, 1, 1, 1.0]), units)
    assert equal.difference > 0 > weighted.difference


def test_classifiers_that_never_differ_are_not_equal_for_certain() -> None:
    value, low, high = difference_interval(np.zeros(50), np.ones(50), SamplingUnits.images(50))
    assert value == 0
    assert low < 0 < high


def test_the_interval_of_a_difference_is_that_of_agresti_and_min() -> None:
    """Their adjusted Wald interval for matched pairs, with the normal quantile."""
    gain_N = np.repeat([1.0, -1.0, 0.0], [30, 12, 158])
    _, low, high = difference_interval(gain_N, np.ones(200), SamplingUnits.images(200))
    b, c, n = 30.5, 12.5, 202.0
    half = 1.96 * np.sqrt((b + c) - (b - c) ** 2 / n) / n
    assert (high - low) / 2 == pytest.approx(half, rel=0.03)


def test_classifiers_that_cannot_be_told_apart_share_their_ranks() -> None:
    rng = np.random.default_rng(5)
    good = rng.random((2, 400)) < 0.9
    bad = rng.random((1, 400)) < 0.5
    tests = compare_pairs(np.concatenate([good, bad]), np.ones(400), SamplingUnits.images(400))
    assert ranks(tests, 3) == [(1, 2), (1, 2), (3, 3)]


def test_with_groups_the_overall_test_permutes_within_them() -> None:
    rng = np.random.default_rng(6)
    units = SamplingUnits(np.repeat(np.arange(12), 10), 12, True)
    equal = np.broadcast_to(rng.random(120) < 0.7, (4, 120))
    assert compare_all(equal, np.ones(120), units).p_value == 1.0
    better = np.concatenate([equal, np.ones((1, 120), bool)])
    assert compare_all(better, np.ones(120), units).p_value < 0.01


def test_one_group_says_nothing_of_others() -> None:
    gain_N, one = np.repeat([1.0, 0.0], [40, 160]), SamplingUnits.of_groups(["a"] * 200)
    assert difference_interval(gain_N, np.ones(200), one) == pytest.approx((0.2, -1, 1))
    assert gain_at_least(gain_N, np.ones(200), one) == pytest.approx((0.2, -1))


def test_a_dominant_group_does_not_hide_how_much_groups_differ() -> None:
    """Two classifiers that are equally good on groups in general, one better on each by chance."""
    sizes = [1000, 10, 10]
    units = SamplingUnits(np.repeat(np.arange(3), sizes), 3, True)
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        chance_N = np.repeat(rng.choice([0.1, -0.1], 3), sizes)
        gain_N = np.sign(chance_N) * (rng.random(1020) < np.abs(chance_N))
        _, low, high = difference_interval(gain_N, np.ones(1020), units)
        held += low <= 0 <= high
    assert held >= 180  # of 200, 190 expected
