"""BAKS, BAUS, the open-set curve and the threshold for new individuals."""

import numpy as np
import pytest

from holotype.errors import UsageError
from holotype.identification.metrics.open_set_metrics import open_set_accuracy, open_set_roc
from holotype.identification.new_individual import threshold_for_new


def test_balanced_accuracies_are_means_over_individuals() -> None:
    """AnimalCLEF's own definition, by hand: every individual counts once."""
    truth = ["a"] * 4 + ["b"] + ["c", "c"] + ["x"] * 3 + ["y"]
    given = ["a", "a", "b", None, "b", None, "a", None, None, "a", "b"]
    found = open_set_accuracy(given, truth, {"a", "b", "c", "not among the queries"})
    assert found.known.value == pytest.approx((2 / 4 + 1 + 0) / 3)
    assert found.unknown.value == pytest.approx((2 / 3 + 0) / 2)


def test_balanced_accuracy_of_known_is_scikit_learns_where_all_are_known() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    truth, given = (rng.choice(list("abcdef"), 200).tolist() for _ in range(2))
    found = open_set_accuracy(given, truth, set("abcdef"))
    assert found.known.value == pytest.approx(balanced_accuracy_score(truth, given))
    assert found.unknown.value is None


def test_area_between_known_and_unknown_is_scikit_learns() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    known_Q = rng.random(300) < 0.6
    score_Q = np.round(rng.normal(size=300) + known_Q, 1)
    names = [f"turtle {n}" for n in rng.integers(0, 50, 300)]
    roc = open_set_roc(score_Q, known_Q, known_Q, names)
    assert roc.area_known_unknown.value == pytest.approx(roc_auc_score(known_Q, score_Q))
    assert roc.area_known_unknown.low < roc.area_known_unknown.value < roc.area_known_unknown.high


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_identification_rate_is_that_of_the_best_allowed_threshold(rate: float) -> None:
    rng = np.random.default_rng(2)
    known_Q = rng.random(200) < 0.5
    right_Q = known_Q & (rng.random(200) < 0.8)
    score_Q = np.round(rng.normal(size=200) + known_Q, 1)
    names = [str(n) for n in range(200)]
    roc = open_set_roc(score_Q, right_Q, known_Q, names, false_alarm_rates=[rate])
    best = 0.0
    for threshold in [*np.unique(score_Q), np.inf]:
        accepted_Q = score_Q >= threshold
        if accepted_Q[~known_Q].mean() <= rate:
            best = max(best, float((accepted_Q & right_Q)[known_Q].mean()))
    assert roc.identification_rate_at[rate].value == pytest.approx(best)
    allowed_T = roc.false_alarm_rate_T <= rate
    assert max([0.0, *roc.identification_rate_T[allowed_T]]) == pytest.approx(best)


def test_intervals_of_the_area_cover_the_truth() -> None:
    """Individuals with a random effect; the truth is that of a great many of them."""
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2 * (1 + 0.5)))
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(100):
        known_I = np.arange(40) < 20
        score_Q = (rng.normal(size=40) + known_I)[:, None] + rng.normal(0, np.sqrt(0.5), (40, 5))
        names = [f"turtle {n}" for n in range(40) for _ in range(5)]
        known_Q = np.repeat(known_I, 5)
        area = open_set_roc(
            score_Q.ravel(), known_Q, known_Q, names, false_alarm_rates=[]
        ).area_known_unknown
        covered.append(area.low <= truth <= area.high)
    assert np.mean(covered) >= 0.88  # 95 of 100, less three standard errors


def test_an_open_set_needs_known_and_unknown_queries() -> None:
    with pytest.raises(UsageError, match="2 queries of known and 0 of unknown"):
        open_set_roc(np.zeros(2), np.ones(2, bool), np.ones(2, bool), ["a", "b"])
    with pytest.raises(UsageError, match="1 values beside 2"):
        open_set_accuracy([None], ["a", "b"], {"a"})


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_known_individuals_are_called_new_at_the_stated_rate_at_most(rate: float) -> None:
    """Split conformal: ⌊rate (N + 1)⌋ / (N + 1) on average, whatever the distribution."""
    rng = np.random.default_rng(4)
    N, repeats = 59, 2000
    names = [str(n) for n in range(N)]
    wrong = 0
    for _ in range(repeats):
        scores = rng.exponential(size=N + 1)
        wrong += threshold_for_new(scores[:N], names, rate).is_new(scores[N])
    expected = np.floor(rate * (N + 1)) / (N + 1)
    assert wrong / repeats == pytest.approx(expected, abs=3.3 * np.sqrt(expected / repeats))


def test_the_interval_of_the_threshold_covers_the_quantile_by_individuals() -> None:
    """Scores of an individual share a random effect, so few individuals say little."""
    from scipy.stats import norm

    truth = norm.ppf(0.1, scale=np.sqrt(2))
    rng = np.random.default_rng(5)
    names = [f"turtle {n}" for n in range(60) for _ in range(4)]
    covered, naive = [], []
    for _ in range(200):
        scores_N = (rng.normal(size=(60, 1)) + rng.normal(size=(60, 4))).ravel()
        found = threshold_for_new(scores_N, names, 0.1)
        covered.append(found.low <= truth <= found.high)
        alone = threshold_for_new(scores_N, [str(n) for n in range(240)], 0.1)
        naive.append(alone.high - alone.low < found.high - found.low)
        assert found.low <= found.threshold <= found.high
        assert found.measured.value <= 0.1
    assert np.mean(covered) >= 0.9
    assert np.mean(naive) > 0.9


def test_too_few_queries_for_a_rate_are_said_with_the_number_needed() -> None:
    scores = np.linspace(0, 1, 18)
    names = [str(n) for n in range(18)]
    with pytest.raises(UsageError, match=r"18 queries .* rate of 0.05; expected at least 19"):
        threshold_for_new(scores, names, 0.05)
    assert threshold_for_new(np.linspace(0, 1, 19), [*names, "18"], 0.05).threshold == 0
    with pytest.raises(UsageError, match="between 0 and 1"):
        threshold_for_new(scores, names, 1.0)
    with pytest.raises(UsageError, match="not finite"):
        threshold_for_new([np.nan] * 18, names, 0.1)
