"""The sequential tests keep their promise however often one looks, and find what is there.

Shape suffixes: T answers with a label, E experiments.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from holotype.serving.deployment import ModelVersion
from holotype.serving.request_log.feedback_store import FeedbackRow
from holotype.serving.traffic.arm_assignment import place_of
from holotype.serving.traffic.experiment import Experiment, ExperimentPlan
from holotype.serving.traffic.sample_ratio import is_mismatch, log_sample_ratio_evidence
from holotype.serving.traffic.sequential_test import (
    ONLY_ZERO_V,
    MeanTest,
    PairedTest,
    SplitTest,
)
from tests.bundle.tiny import manifest

EXPERIMENTS = 2_000
ANSWERS = 3_000
LABELS_SPLIT, LABELS_PAIRED = 7_500, 2_000  # what docs/serving.md states for 3 points
DISCORDANT = 0.12  # of the images, answered rightly by one version only

Bools = NDArray[np.bool_]


def split_answers(
    shape_TE: tuple[int, int], accuracies: tuple[float, float], share: float, seed: int
) -> tuple[Bools, Bools]:
    """Whether each answer is right, and whether the challenger gave it: (T, E) each."""
    random = np.random.default_rng(seed)
    challenger_TE = random.random(shape_TE) < share
    limit_TE = np.where(challenger_TE, accuracies[1], accuracies[0])
    return random.random(shape_TE) < limit_TE, challenger_TE


def paired_answers(
    shape_TE: tuple[int, int], accuracies: tuple[float, float], seed: int
) -> tuple[Bools, Bools]:
    """Whether the challenger and the champion are right on the same images: (T, E) each."""
    champion, challenger = accuracies
    both = (champion + challenger - DISCORDANT) / 2
    drawn_TE = np.random.default_rng(seed).random(shape_TE)
    only_champion = both + champion - both
    one_right_TE = drawn_TE < both
    champion_TE = drawn_TE < only_champion
    challenger_TE = one_right_TE | (
        (drawn_TE >= only_champion) & (drawn_TE < only_champion + challenger - both)
    )
    return challenger_TE, champion_TE


def run_split(right_TE: Bools, challenger_TE: Bools, share: float) -> SplitTest:
    test = SplitTest(right_TE.shape[1], ONLY_ZERO_V)
    for right_E, challenger_E in zip(right_TE, challenger_TE, strict=True):
        test.add(right_E, challenger_E, share)
    return test


def run_paired(challenger_TE: Bools, champion_TE: Bools) -> PairedTest:
    test = PairedTest(champion_TE.shape[1], ONLY_ZERO_V)
    for challenger_E, champion_E in zip(challenger_TE, champion_TE, strict=True):
        test.add(challenger_E, champion_E)
    return test


def upper_bound(count: int) -> float:
    """Of a share of the experiments, with 95 % (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.975, count + 1, EXPERIMENTS - count))


def z_test_winners(right_TE: Bools, challenger_TE: Bools) -> int:
    """How many experiments a z-test of 5 % decides, looked at after every answer."""
    counts = [np.cumsum(arm_TE, axis=0) for arm_TE in (challenger_TE, ~challenger_TE)]
    rights = [np.cumsum(right_TE & arm, axis=0) for arm in (challenger_TE, ~challenger_TE)]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [right / count for right, count in zip(rights, counts, strict=True)]
        pooled = (rights[0] + rights[1]) / (counts[0] + counts[1])
        spread = np.sqrt(pooled * (1 - pooled) * (1 / counts[0] + 1 / counts[1]))
        z_TE = np.abs(shares[0] - shares[1]) / spread
    enough_TE = np.minimum(*counts) >= 30  # nobody looks before
    return int((enough_TE & (z_TE > 1.96)).any(axis=0).sum())


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_equal_arms_looked_at_after_every_answer_win_in_at_most_5_percent(share: float) -> None:
    right_TE, challenger_TE = split_answers((ANSWERS, EXPERIMENTS), (0.85, 0.85), share, seed=1)
    test = run_split(right_TE, challenger_TE, share)
    wrong = int((test.above_E | test.below_E).sum())
    with_z_test = z_test_winners(right_TE, challenger_TE)
    print(f"share {share}: e-process {wrong}, z-test {with_z_test} of {EXPERIMENTS}")
    assert wrong <= 0.05 * EXPERIMENTS
    assert upper_bound(wrong) <= 0.065
    assert with_z_test >= 0.3 * EXPERIMENTS


def test_equal_versions_in_shadow_win_in_at_most_5_percent() -> None:
    test = run_paired(*paired_answers((ANSWERS, EXPERIMENTS), (0.85, 0.85), seed=2))
    wrong = int((test.above_E | test.below_E).sum())
    print(f"paired: {wrong} of {EXPERIMENTS}")
    assert wrong <= 0.05 * EXPERIMENTS
    assert upper_bound(wrong) <= 0.065


def test_labels_that_depend_on_the_outcome_change_nothing() -> None:
    """Wrong answers are reported four times as often as right ones, on both arms."""
    right_TE, challenger_TE = split_answers((6_000, EXPERIMENTS), (0.85, 0.85), 0.5, seed=3)
    labelled_TE = np.random.default_rng(4).random(right_TE.shape) < np.where(right_TE, 0.2, 0.8)
    order_TE = np.argsort(~labelled_TE, axis=0, kind="stable")[:1_200]
    assert np.take_along_axis(labelled_TE, order_TE, 0).all()
    test = run_split(
        np.take_along_axis(right_TE, order_TE, 0), np.take_along_axis(challenger_TE, order_TE, 0),
        0.5,
    )  # fmt: skip
    assert upper_bound(int((test.above_E | test.below_E).sum())) <= 0.065


def test_3_points_are_found_in_8_of_10_and_in_shadow_with_half_the_labels() -> None:
    split = run_split(*split_answers((LABELS_SPLIT, 400), (0.85, 0.88), 0.5, seed=5), 0.5)
    paired = run_paired(*paired_answers((LABELS_PAIRED, 400), (0.85, 0.88), seed=6))
    print(f"power: split {split.above_E.mean():.3f}, paired {paired.above_E.mean():.3f}")
    assert split.above_E.mean() >= 0.8
    assert paired.above_E.mean() >= 0.8
    assert LABELS_PAIRED <= LABELS_SPLIT / 2
    assert split.below_E.sum() == 0
    assert paired.below_E.sum() == 0


def test_a_share_that_grows_keeps_the_promise() -> None:
    shares = (0.05, 0.25, 0.5)
    test = SplitTest(EXPERIMENTS, ONLY_ZERO_V)
    for seed, share in enumerate(shares):
        for right_E, challenger_E in zip(
            *split_answers((800, EXPERIMENTS), (0.9, 0.9), share, seed), strict=True
        ):
            test.add(right_E, challenger_E, share)
    assert upper_bound(int((test.above_E | test.below_E).sum())) <= 0.065


def test_the_interval_covers_the_difference_at_every_look() -> None:
    """Two points better: at most 5 % of the intervals ever miss it."""
    experiments, missed = 300, np.zeros(300, bool)
    random = np.random.default_rng(8)
    test = SplitTest(experiments, np.linspace(-0.4, 0.4, 41))
    for _ in range(600):
        challenger_E = random.random(experiments) < 0.5
        right_E = random.random(experiments) < np.where(challenger_E, 0.84, 0.82)
        test.add(right_E, challenger_E, 0.5)
        missed |= (test.lower_E > 0.02) | (test.upper_E < 0.02)
    assert missed.mean() <= 0.05
    assert np.median(test.upper_E - test.lower_E) < 0.3  # an interval that says something


def test_the_capital_of_a_bet_is_what_the_formula_says() -> None:
    """One bet by hand: 1 + bet (x - d) / (d - low), averaged over the bets."""
    test = MeanTest(1, ONLY_ZERO_V)
    for observed in (1.0, -1.0, 0.5):
        test.update(np.array([observed]), np.array([-2.0]), np.array([1.0]))
    expected = np.mean(
        [(1 + bet / 2) * (1 - bet / 2) * (1 + bet / 4) for bet in (0.05, 0.1, 0.2, 0.4)]
    )
    assert math.exp(test.log_evidence_E2[0, 0]) == pytest.approx(expected)


def test_a_server_never_overflows() -> None:
    test = PairedTest()
    for _ in range(4_000):
        test.add(np.array([True]), np.array([False]))
    assert test.above_E.all()
    assert np.isfinite(test.log_evidence_E2).all()
    assert test.lower_E[0] >= 0.95


def test_the_sample_ratio_is_rarely_called_wrong_and_wrong_ones_are_found() -> None:
    """Looked at every 10 requests, 2,000 times each: 1 in 1,000 may ever be called wrong."""
    random = np.random.default_rng(9)

    def ever_called(true_share: float, share: float) -> float:
        counts = np.cumsum(random.binomial(10, true_share, (300, 500)), axis=0)
        called = np.zeros(500, bool)
        for step, count_E in enumerate(counts, 1):
            called |= [
                is_mismatch(log_sample_ratio_evidence({share: (10 * step - n, n)}))
                for n in count_E.tolist()
            ]
        return float(called.mean())

    assert ever_called(0.5, 0.5) <= 0.004
    assert ever_called(0.05, 0.05) <= 0.004
    assert ever_called(0.44, 0.5) >= 0.9


def test_keys_stay_on_their_arm_and_arms_get_their_share() -> None:
    places = np.array([place_of(f"key-{number}", "a/b") for number in range(20_000)])
    assert stats.kstest(places, "uniform").pvalue > 0.001
    assert place_of("key-1", "a/b") == places[1]
    other = np.array([place_of(f"key-{number}", "a/c") for number in range(2_000)])
    assert abs(np.corrcoef(places[:2_000], other)[0, 1]) < 0.1


def test_a_corrected_truth_counts_once_also_where_the_server_was_started_again() -> None:
    champion, challenger = (
        ModelVersion("tiny", digest, digest, Path(), manifest()) for digest in ("a", "b")
    )
    experiment = Experiment(ExperimentPlan(), champion, challenger)
    for label in ("crack", "fine"):  # as the feedback of the log is counted at a start
        row = FeedbackRow("r0", 0, label, share=0.1, predicted="crack", key="unit")
        experiment.count_label(row)
    assert (experiment.arms["champion"].labelled, experiment.arms["champion"].right) == (1, 1)
