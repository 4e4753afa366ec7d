"""Conformal p-values are uniform, bets are fair, and capital grows only where something changed."""

import numpy as np
import pytest
from scipy import integrate, stats

from holotype.watching.monitoring.betting import (
    Capital,
    log_limit_bets_B,
    log_rank_bets_B,
    log_share_bets_B,
)
from holotype.watching.monitoring.monitors import CHANCE, Monitors, Watched
from holotype.watching.monitoring.score_pool import ScorePool
from holotype.watching.monitoring.service_scores import ServiceLimits

DAY_S = 86_400.0


def test_ranks_are_those_among_all_before() -> None:
    """Against a rank that is counted one by one."""
    rng = np.random.default_rng(0)
    reference, scores, ties = rng.integers(0, 9, 50), rng.integers(0, 9, 30), rng.random(30)
    pool = ScorePool()
    pool.add(reference.astype(float))
    found = pool.ranks_N(scores.astype(float), ties)
    before = list(reference)
    for score, tie, rank in zip(scores, ties, found, strict=True):
        lower = sum(each < score for each in before)
        equal = sum(each == score for each in before) + 1
        assert rank == pytest.approx((lower + tie * equal) / (len(before) + 1))
        before.append(score)


@pytest.mark.parametrize("score", ["normal", "yes or no"])
def test_ranks_of_exchangeable_scores_are_uniform_and_independent(score: str) -> None:
    ranks = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=24) if score == "normal" else (rng.random(24) < 0.3) * 1.0
        pool = ScorePool()
        pool.add(scores[:16])
        ranks.append(pool.ranks_N(scores[16:], rng.random(8)))
    ranks_SN = np.array(ranks)
    assert stats.kstest(ranks_SN.ravel(), "uniform").pvalue > 0.01
    correlations = np.corrcoef(ranks_SN.T)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 0.2


def test_a_pool_holds_what_was_added_in_any_order() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=200)
    once, often = ScorePool(), ScorePool()
    once.add(scores)
    for part in np.split(rng.permutation(scores), 20):
        often.add(part)
    np.testing.assert_array_equal(once.values_V, often.values_V)
    np.testing.assert_array_equal(once.counts_V, often.counts_V)
    assert len(once) == 200


def test_every_bet_is_a_density() -> None:
    """So that it gains nothing on average over uniform ranks."""
    for bets in (log_rank_bets_B, lambda ranks: log_share_bets_B(ranks, 0.13)):
        count = len(bets(np.array([0.5])))
        for bet in range(count):
            total, _ = integrate.quad(
                lambda rank, bet=bet, bets=bets: float(np.exp(bets(np.array([rank]))[bet])),
                0, 1, points=[0.05, 0.87, 0.95], limit=400,
            )  # fmt: skip
            assert total == pytest.approx(1, abs=2e-3)


def test_bets_on_a_limit_lose_on_average_below_it() -> None:
    for share in (0.02, 0.05):
        one, zero = (np.exp(log_limit_bets_B(np.array([each]), 0.05)) for each in (1.0, 0.0))
        assert (share * one + (1 - share) * zero <= 1 + 1e-12).all()


def test_capital_is_dealt_out_over_a_year_and_never_more() -> None:
    capital = Capital.new(2)
    for day in range(400):
        capital.update(np.zeros(2), DAY_S if day else 0.0)
    assert 0.99 < capital.dealt <= 1
    assert capital.log_value == pytest.approx(0, abs=1e-6)


def quiet_then_shifted(seed: int, days: int, shift: float) -> Monitors:
    """A monitor of normal scores whose mean moves in the last three windows."""
    rng = np.random.default_rng(seed)
    monitors = Monitors.new([Watched("score", "input", 1.0)], {"score": rng.normal(size=200)}, seed)
    for day in range(days):
        if monitors.alarm:
            break
        moved = shift if day >= days - 3 else 0.0
        monitors.update({"score": rng.normal(moved, size=50)}, DAY_S)
    return monitors


def test_quiet_times_end_in_a_false_alarm_with_the_stated_chance() -> None:
    """80 times 60 days, beyond what is as rare as 1 in 100."""
    alarms = sum(quiet_then_shifted(seed, 60, 0.0).alarm for seed in range(80))
    assert alarms <= stats.binom.ppf(0.99, 80, CHANCE)


def test_a_change_is_found_within_three_windows_after_a_long_quiet() -> None:
    found = sum(quiet_then_shifted(seed, 60, 0.6).alarm for seed in range(20))
    assert found >= 18


def test_the_parts_of_the_chance_are_what_each_monitor_needs() -> None:
    assert Watched("one", "input", 0.1).needed == pytest.approx(np.log(1 / (0.05 * 0.1)))


def test_another_limit_counts_from_the_next_window_on() -> None:
    rng = np.random.default_rng(0)
    monitors = Monitors.new(ServiceLimits(max_errors=5).watched(), {})

    def alarm_after_a_window() -> bool:
        errors_N = (rng.random(200) < 0.2).astype(float)
        monitors.update({"errors": errors_N, "slow answers": np.zeros(200)}, 3600)
        return monitors.alarm

    assert alarm_after_a_window()
    monitors.hold(ServiceLimits(max_errors=50).watched())
    assert [alarm_after_a_window() for _ in range(3)] == [False] * 3
    kept = monitors.each["errors"].capital
    monitors.hold(ServiceLimits(max_errors=50).watched())
    assert monitors.each["errors"].capital is kept
