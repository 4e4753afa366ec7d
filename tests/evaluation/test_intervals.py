"""Intervals: closed forms, exact coverage, and what must hold for any test set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holotype.evaluation.intervals import (
    Estimate,
    SamplingUnits,
    bootstrap_variance,
    bootstrap_weights,
    design_effect,
    interval_from_variance,
    jackknife_variance,
    jackknife_weights,
    proportion,
    shrunken_design_effect,
    wilson,
)
from tests.evaluation.made import made
from tests.guarantees.simulated import coverage_in_groups


@pytest.mark.parametrize(("right", "of"), [(4, 8), (45, 50), (180, 200), (300, 650), (646, 650)])
def test_wilson_agrees_with_scipy(right: int, of: int) -> None:
    expected = stats.binomtest(right, of).proportion_ci(method="wilson")
    assert wilson(right / of, of) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("mistakes", "of"), [(1, 50), (2, 50), (1, 200), (3, 200)])
def test_few_mistakes_take_the_poisson_bound(mistakes: int, of: int) -> None:
    bound = stats.chi2.ppf(0.05, 2 * mistakes) / 2 / of
    assert wilson(1 - mistakes / of, of)[1] == pytest.approx(1 - bound)
    assert wilson(mistakes / of, of)[0] == pytest.approx(bound)


@pytest.mark.parametrize("num_images", [50, 200, 650])
@pytest.mark.parametrize("accuracy", [0.8, 0.95, 0.99])
def test_independent_images_are_covered_exactly(num_images: int, accuracy: float) -> None:
    """No simulation: the binomial probability of every score whose interval holds the truth."""
    covered = 0.0
    for right in range(num_images + 1):
        low, high = wilson(right / num_images, num_images)
        if low <= accuracy <= high:
            covered += stats.binom.pmf(right, num_images, accuracy)
    assert covered >= 0.93


@given(
    data=st.lists(
        st.tuples(st.booleans(), st.floats(0.01, 100), st.integers(0, 6)), min_size=1, max_size=60
    ),
    grouped=st.booleans(),
    weighted=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_interval_holds_its_value_inside_zero_to_one_and_has_width(
    data: list[tuple[bool, float, int]], grouped: bool, weighted: bool
) -> None:
    success_N = np.array([row[0] for row in data])
    weights_N = np.array([row[1] if weighted else 1.0 for row in data])
    groups = [str(row[2]) if grouped else "" for row in data]
    units = SamplingUnits.of(made(len(data), 2, groups=groups))
    estimate = proportion(success_N, weights_N, units)
    assert estimate.value == pytest.approx(np.average(success_N, weights=weights_N))
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high - estimate.low > 1e-3


def test_a_perfect_score_says_how_few_groups_it_rests_on() -> None:
    right_N, weights_N = np.ones(200), np.ones(200)
    widths = []
    for num_groups in (5, 20, 200):
        groups = [str(n % num_groups) for n in range(200)]
        estimate = proportion(right_N, weights_N, SamplingUnits.of(made(200, 2, groups=groups)))
        assert estimate.low is not None
        widths.append(1 - estimate.low)
    assert widths[0] > 0.2
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(1 - wilson(1.0, 200)[0])


def test_copies_of_one_image_count_as_one() -> None:
    """Ten images of each specimen, all right or all wrong: the specimens are the sample."""
    rng = np.random.default_rng(0)
    by_specimen = rng.random(100) < 0.8
    groups = [str(n // 10) for n in range(1000)]
    estimate = proportion(
        np.repeat(by_specimen, 10), np.ones(1000), SamplingUnits.of(made(1000, 2, groups=groups))
    )
    expected = wilson(by_specimen.mean(), 100, stats.t.ppf(0.975, 99))
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=0.003)


def test_groups_that_do_not_matter_cost_little() -> None:
    rng = np.random.default_rng(1)
    right_N, weights_N = rng.random(1000) < 0.9, np.ones(1000)
    groups = [str(n % 100) for n in range(1000)]
    grouped = proportion(right_N, weights_N, SamplingUnits.of(made(1000, 2, groups=groups)))
    alone = proportion(right_N, weights_N, SamplingUnits.images(1000))
    assert grouped.high - grouped.low < 1.35 * (alone.high - alone.low)


def test_one_group_tells_nothing_about_others() -> None:
    units = SamplingUnits.of(made(30, 2, groups=["a"] * 30))
    estimate = proportion(np.ones(30), np.ones(30), units)
    assert (estimate.low, estimate.high) == (0, 1)


def test_images_without_a_group_stand_for_themselves() -> None:
    units = SamplingUnits.of(made(5, 2, groups=["a", "", "a", "", "b"]))
    assert units.unit_N.tolist() == [0, 1, 0, 2, 3]
    assert units.count == 4
    assert units.grouped
    assert not SamplingUnits.of(made(3, 2, groups=["a", "b", "c"])).grouped


def test_equal_weights_are_no_weights_whatever_they_are() -> None:
    right_N = np.random.default_rng(2).random(80) < 0.9
    thirds = proportion(right_N, np.full(80, 1 / 3), SamplingUnits.images(80))
    assert str(thirds) == str(proportion(right_N, np.ones(80), SamplingUnits.images(80)))


def test_unequal_weights_count_as_kish_says() -> None:
    """Half the images weigh 1 and half 3, and success does not go with weight."""
    weights_N = np.tile([1.0, 1.0, 3.0, 3.0], 50)
    right_N = np.tile([1.0, 0.0, 1.0, 0.0], 50)
    found = design_effect(right_N, weights_N, np.arange(200))
    assert found.effective_n == pytest.approx(200 * (1 + 3) ** 2 / (2 * (1 + 9)))
    assert found.measured == pytest.approx(1.0, abs=0.02)


def test_the_jackknife_over_equal_groups_is_the_variance_of_their_means() -> None:
    rng = np.random.default_rng(3)
    values_GM = rng.random((12, 25))
    without_G = np.array([np.delete(values_GM, g, axis=0).mean() for g in range(12)])
    expected = values_GM.mean(axis=1).var(ddof=1) / 12
    assert jackknife_variance(values_GM.mean(), without_G) == pytest.approx(expected)


def test_the_bootstrap_variance_of_a_mean_is_the_textbook_one() -> None:
    rng = np.random.default_rng(4)
    values_N, weights_N = rng.normal(size=60), np.ones(60)
    drawn = np.concatenate(
        [
            values_N @ w / w.sum(axis=0)
            for w in bootstrap_weights(weights_N, SamplingUnits.images(60), 0, 20_000)
        ]
    )
    assert bootstrap_variance(drawn, 60) == pytest.approx(values_N.var(ddof=1) / 60, rel=0.04)


def test_resamples_draw_whole_groups_and_repeat_with_their_seed() -> None:
    groups = [str(n % 7) for n in range(50)]
    predictions = made(50, 2, weighted=True, groups=groups)
    units = SamplingUnits.of(predictions)
    first, second = (
        np.concatenate(list(bootstrap_weights(predictions.weights_N, units, 5, 40)), axis=1)
        for _ in range(2)
    )
    assert first.shape == (50, 40)
    assert (first == second).all()
    times_NR = (
        first[predictions.weights_N > 0] / predictions.weights_N[predictions.weights_N > 0, None]
    )
    for group in range(7):
        of_group = times_NR[np.array(groups)[predictions.weights_N > 0] == str(group)]
        assert of_group == pytest.approx(np.broadcast_to(of_group[:1], of_group.shape))


def test_leaving_out_a_group_leaves_out_its_images_only() -> None:
    units = SamplingUnits.of(made(6, 2, groups=list("aabbcc")))
    weights_NG = jackknife_weights(np.arange(1.0, 7.0), units)
    assert weights_NG.T.tolist() == [[0, 0, 3, 4, 5, 6], [1, 2, 0, 0, 5, 6], [1, 2, 3, 4, 0, 0]]


def test_the_design_effect_follows_the_data_where_many_groups_tell() -> None:
    assert shrunken_design_effect(1.0, 10.0, num_informative=0) == pytest.approx(10.0)
    assert shrunken_design_effect(1.0, 10.0, num_informative=3) == pytest.approx(10**0.5)
    assert shrunken_design_effect(1.0, 10.0, num_informative=300) < 1.03
    assert shrunken_design_effect(25.0, 10.0, num_informative=1) == 25.0


def test_wilsons_form_of_a_binomial_variance_is_wilsons_interval() -> None:
    estimate = interval_from_variance(
        0.9, 0.9 * 0.1 / 200, effective=1, quantile=stats.norm.ppf(0.975), method=""
    )
    assert (estimate.low, estimate.high) == pytest.approx(wilson(0.9, 200))


def test_scores_beyond_one_keep_inside_their_range() -> None:
    estimate = interval_from_variance(1.8, 0.04, effective=1, quantile=1.96, method="", top=2.0)
    assert estimate.high is not None
    assert 1.8 < estimate.high <= 2.0
    perfect = interval_from_variance(0.0, 0.0, effective=50, quantile=1.96, method="", top=2.0)
    assert perfect.low == 0
    assert perfect.high == pytest.approx(2 * wilson(0.0, 50)[1], rel=1e-3)


def test_an_estimate_prints_as_people_write_it() -> None:
    assert str(Estimate(0.9123, 0.887, 0.9341, "")) == "0.912 [0.887, 0.934]"
    assert str(Estimate(None, None, None, "")) == "undefined"
    assert Estimate(0.5, 0.4, 0.6, "how").to_json() == {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "method": "how",
    }


@pytest.mark.parametrize("num_groups", [5, 10, 40])
@pytest.mark.parametrize("accuracy", [0.8, 0.95, 0.99])
def test_few_simulated_test_sets_in_groups_are_covered(num_groups: int, accuracy: float) -> None:
    """The small form of tests/guarantees/test_interval_coverage.py."""
    covered = coverage_in_groups(200, accuracy, num_groups, correlation=0.2, num_sets=200, seed=0)
    assert covered >= 0.91
