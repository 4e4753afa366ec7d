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
    of = build_leaderboard(align_predictions(found, "test"), "test")
    report = build_report(found["run 1"])
    assert str(of.accuracies[1]) == str(report["accuracy"])
    for mine, its in zip(of.per_class[1], report.per_class, strict=True):
        assert (str(mine.recall), str(mine.precision)) == (str(its.recall), str(its.precision))
    for name, scores in of.scores.items():
        assert scores.values[1] == pytest.approx(report[name].value)


def test_a_clear_winner_is_named_and_the_rest_are_tied() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    poor = [np.where(rng.random(300) < 0.6, targets, (targets + 1) % 3) for _ in range(2)]
    of = build_leaderboard(
        answered(targets.tolist(), *(p.tolist() for p in poor), targets.tolist()), "test"
    )
    assert of.ranks[2] == (1, 1)
    assert of.ranks[0] == of.ranks[1] == (2, 3)
    assert of.summary() == "c is more accurate than every other, by more than chance."
    assert of.names[of.best] == "c"
    two = build_leaderboard(answered(targets.tolist(), poor[0].tolist(), targets.tolist()), "test")
    assert two.summary() == "b is more accurate than a, by more than chance."


def test_what_may_be_chance_is_no_difference() -> None:
    of = build_leaderboard(
        answered([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 0], [0, 1, 2, 0, 1, 2]), "test"
    )
    assert of.ranks == ((1, 2), (1, 2))
    assert "No two of the 2 can be told apart" in of.summary()


def test_those_that_cannot_be_told_apart_from_the_best_are_named() -> None:
    of = build_leaderboard(
        align_predictions(several(200, signals=(-2.0, 2.0, 2.2)), "test"), "test"
    )
    assert of.ranks[0] == (3, 3)
    assert "1 other cannot be told apart from it: run 1" in of.summary()


def test_a_pair_reads_the_same_from_both_sides() -> None:
    of = build_leaderboard(align_predictions(several(), "test"), "test")
    there, back = of.test(0, 2), of.test(2, 0)
    assert there is not None
    assert back is not None
    assert (there.difference, there.low, there.high) == (-back.difference, -back.high, -back.low)
    assert of.test(1, 1) is None
    assert all(test.difference >= 0 for test in of.pairs)


def test_one_alone_has_nothing_to_be_tested_against() -> None:
    of = build_leaderboard(align_predictions(several(signals=[1.0]), "test"), "test")
    assert of.tests == ()
    assert of.overall is None
    assert of.ranks == ((1, 1),)
    assert "nothing to compare" in of.summary()


def test_absent_and_never_predicted_classes_are_said() -> None:
    of = build_leaderboard(answered([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]), "test")
    said = " ".join(of.caveats)
    assert "no image here (class 2)" in said
    assert "averages over classes are over the other 2" in said
    assert "b: 1 class has images here but is never predicted (class 1)" in said
    assert str(of.per_class[0][2].recall) == str(of.per_class[1][1].precision) == "undefined"
