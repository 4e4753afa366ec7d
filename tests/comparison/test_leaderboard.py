"""Where classifiers stand: as in their own reports, with ties as ties."""

import numpy as np
import pytest

from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.leaderboard import build_leaderboard
from holotype.evaluation.build_report import build_report
from tests.comparison.made import answered, several


@pytest.mark.parametrize("groups", [None, 8, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracies_recalls_and_precisions_are_those_of_each_report(
    groups: int | None, weighted: bool
) -> None:
    found = several(160, groups=groups, weighted=weighted)
    board = build_leaderboard(align_predictions(found, "test"), "test")
    report = build_report(found["run 1"])
    assert str(board.accuracies[1]) == str(report["accuracy"])
    for mine, its in zip(board.per_class[1], report.per_class, strict=True):
        assert (str(mine.recall), str(mine.precision)) == (str(its.recall), str(its.precision))
    for name, scores in board.scores.items():
        assert scores.values[1] == pytest.approx(report[name].value)


def test_a_clear_winner_is_named_and_the_rest_are_tied() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    poor = [np.where(rng.random(300) < 0.6, targets, (targets + 1) % 3) for _ in range(2)]
    board = build_leaderboard(
        answered(targets.tolist(), *(p.tolist() for p in poor), targets.tolist()), "test"
    )
    assert board.ranks[2] == (1, 1)
    assert board.ranks[0] == board.ranks[1] == (2, 3)
    assert board.summary() == "c is significantly more accurate than every other run."
    assert board.names[board.best] == "c"
    two = build_leaderboard(answered(targets.tolist(), poor[0].tolist(), targets.tolist()), "test")
    assert two.summary() == "b is significantly more accurate than a."


def test_runs_that_do_not_differ_significantly_share_their_ranks() -> None:
    board = build_leaderboard(
        answered([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 0], [0, 1, 2, 0, 1, 2]), "test"
    )
    assert board.ranks == ((1, 2), (1, 2))
    assert "No two of the 2 runs differ significantly" in board.summary()


def test_runs_that_do_not_differ_significantly_from_the_best_are_named() -> None:
    board = build_leaderboard(
        align_predictions(several(200, signals=(-2.0, 2.0, 2.2)), "test"), "test"
    )
    assert board.ranks[0] == (3, 3)
    assert "1 other run does not differ significantly from it: run 1" in board.summary()


def test_a_pair_reads_the_same_from_both_sides() -> None:
    board = build_leaderboard(align_predictions(several(), "test"), "test")
    there, back = board.test(0, 2), board.test(2, 0)
    assert there is not None
    assert back is not None
    assert (there.difference, there.low, there.high) == (-back.difference, -back.high, -back.low)
    assert board.test(1, 1) is None
    assert all(test.difference >= 0 for test in board.pairs)


def test_one_alone_has_nothing_to_be_tested_against() -> None:
    board = build_leaderboard(align_predictions(several(signals=[1.0]), "test"), "test")
    assert board.tests == ()
    assert board.overall is None
    assert board.ranks == ((1, 1),)
    assert board.summary().startswith("Only one run has predictions of test: there is nothing")


def test_absent_and_never_predicted_classes_are_said() -> None:
    board = build_leaderboard(answered([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]), "test")
    said = " ".join(board.caveats)
    assert "no image here (class 2)" in said
    assert "means over classes are over the other 2" in said
    assert "b: 1 class has images here but is never predicted (class 1)" in said
    assert str(board.per_class[0][2].recall) == str(board.per_class[1][1].precision) == "undefined"
