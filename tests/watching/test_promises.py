"""Quiet years stay quiet, changes are found and named, and an estimate of accuracy holds the truth.

In small by default; `benchmarks/watching.py` has the same on networks' embeddings.
"""

import numpy as np
import pytest

from benchmarks.watching_changes import (
    KINDS,
    accuracy_under_reweighting,
    changes_found,
    declines_under_novelty,
)
from benchmarks.watching_quiet import quiet_years
from holotype.watching.diagnosis.change_kind import class_shares
from holotype.watching.diagnosis.feedback_accuracy import accuracy_interval
from holotype.watching.diagnosis.two_sample_tests import ks_test, mmd_test
from tests.watching.digit_tables import digit_tables

CHANGES = ("blur", "brightness", "class triples", "unseen")
# Of these pixels it is not promised how an unseen digit is called: novelty in a third of alarms; of
# a network's embeddings it is in 19 of 20 (docs/watching.md). That it is found is promised.
NAMED = ("blur", "brightness", "class triples")


@pytest.mark.parametrize("alike", [1, 10])
def test_quiet_windows_raise_no_alarm_and_tests_of_each_window_do(alike: int) -> None:
    found = quiet_years(digit_tables()["none"], 400, range(4), alike=alike, seed=1, days=40)
    assert found.with_alarm == 0
    assert found.with_alarm_by_window >= 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("alike", [1, 10])
def test_of_200_quiet_years_at_most_5_percent_have_an_alarm(alike: int) -> None:
    found = quiet_years(digit_tables()["none"], 400, range(200), alike=alike, seed=20260)
    print(found)
    assert found.with_alarm <= 10
    assert found.with_alarm_by_window > 150


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_within_three_windows_and_called_by_its_name(change: str) -> None:
    found = changes_found(digit_tables(), change, runs=3, seed=1)
    assert sum(found.within) + found.early == 3
    if change in NAMED:
        assert found.share_named(KINDS.get(change, "input")) == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("change", CHANGES)
def test_9_of_10_changes_are_found_and_8_of_10_named_rightly(change: str) -> None:
    found = changes_found(digit_tables(), change, runs=50, seed=20260)
    assert found.share_found >= 0.9
    if change in NAMED:
        assert found.share_named(KINDS.get(change, "input")) >= 0.8


def test_the_estimated_accuracy_holds_the_truth_and_is_not_given_under_novelty() -> None:
    tables = digit_tables()
    found = accuracy_under_reweighting(tables, tables["none"].facts["brightness"], runs=4, seed=1)
    assert found.answered >= 2
    assert found.covered >= found.answered - 1
    assert declines_under_novelty(tables, runs=4, seed=1) >= 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_9_of_10_estimates_hold_the_truth_where_some_digits_come_more_often() -> None:
    tables = digit_tables()
    found = accuracy_under_reweighting(tables, tables["none"].facts["brightness"], 50, 20260)
    assert found.answered >= 25
    assert found.covered >= 0.9 * found.answered


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.xfail(reason="not promised of pixels: 35 of 50; of a network's embeddings 20 of 20")
def test_9_of_10_windows_with_an_unseen_digit_have_no_estimate() -> None:
    assert declines_under_novelty(digit_tables(), runs=50, seed=20260) >= 45


def test_a_confidence_sequence_holds_the_accuracy_at_all_times_at_once() -> None:
    missed = 0
    for seed in range(40):
        right = (np.random.default_rng(seed).random(60) < 0.8).astype(float)
        ends = [accuracy_interval(right[:n].tolist()) for n in (10, 30, 60)]
        missed += any(not low <= 0.8 <= high for low, high in ends)
    assert missed <= 4
    low, high = accuracy_interval([1.0, 1.0, 0.0] * 60)
    assert low < 2 / 3 < high
    assert high - low < 0.3


def test_shares_of_classes_are_estimated_although_only_answers_are_seen() -> None:
    images = digit_tables()["none"]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    reference, rest = images.select(order[:600]), order[600:]
    weights = np.where(images.targets_N[rest] == 3, 4.0, 1.0)
    window = images.select(rng.choice(rest, 500, p=weights / weights.sum()))
    truth = (window.targets_N == 3).mean()
    shares = class_shares(window, reference)
    assert shares.by_confusion_C is not None
    # EM takes the probabilities for calibrated, and those of this regression hardly are.
    for estimate_C, tolerance in ((shares.by_em_C, 0.04), (shares.by_confusion_C, 0.02)):
        assert estimate_C.sum() == pytest.approx(1)
        assert estimate_C[3] == pytest.approx(truth, abs=tolerance)


def test_two_sample_tests_keep_their_level_and_see_a_change() -> None:
    tables = digit_tables()
    images, blurred = tables["none"], tables["blur"]
    p_values = []
    for seed in range(12):
        order = np.random.default_rng(seed).permutation(len(images))
        first, second = images.select(order[:150]), images.select(order[150:300])
        p_values.append(mmd_test(first.embeddings_ND, second.embeddings_ND, seed).p_value)
    assert sum(p < 0.05 for p in p_values) <= 3
    assert mmd_test(images.embeddings_ND[:150], blurred.embeddings_ND[150:300]).p_value < 0.01
    outcome = ks_test("x", images.confidence_N, np.full(3, np.nan))
    assert outcome is None
