"""Which classifier knows which class; counted by hand."""

import pytest

from holotype.comparison.disagreements import agreement, disagreements
from holotype.comparison.leaderboard import build_leaderboard
from holotype.comparison.per_class import compare_classes, confused_pairs, strengths, weaknesses
from tests.comparison.made import answered

TARGETS = [0] * 10 + [1] * 10
A = [0] * 9 + [1] + [1] * 6 + [0] * 4  # recall 0.9 and 0.6
B = [0] * 6 + [1] * 4 + [1] * 10  # recall 0.6 and 1.0
C = [0] * 9 + [2] + [1] * 10  # recall 0.9 and 1.0, and calls what is not there
OF = build_leaderboard(answered(TARGETS, A, B, C), "test")


def test_best_and_worst_of_a_class_are_named_together_where_they_share_the_place() -> None:
    first, second, absent = compare_classes(OF)
    assert (first.best, first.worst) == ((0, 2), (1,))
    assert first.spread == pytest.approx(0.3)
    assert (second.best, second.worst) == ((1, 2), (0,))
    assert (absent.support, absent.best, absent.worst, absent.spread) == (0, (), (), 0)


def test_a_weakness_lies_far_below_the_best() -> None:
    found = {(gap.classifier, gap.class_number, gap.score) for gap in weaknesses(OF)}
    # Precision: a 9/13 and 6/7, b 6/6 and 10/14, c 9/9 and 10/10.
    assert found == {
        (0, 0, "precision"),
        (0, 1, "recall"),
        (1, 0, "recall"),
        (1, 1, "precision"),
    }
    assert weaknesses(OF)[0].value - weaknesses(OF)[0].best == pytest.approx(-0.4)


def test_a_gap_as_wide_as_was_asked_for_counts() -> None:
    recalls = {gap.classifier for gap in weaknesses(OF, recall_gap=0.3) if gap.score == "recall"}
    assert recalls == {0, 1}
    wider = [g for g in weaknesses(OF, recall_gap=0.31, precision_gap=1) if g.score == "recall"]
    assert [gap.classifier for gap in wider] == [0]


def test_strong_is_who_stands_alone_at_the_top() -> None:
    found = [(gap.classifier, gap.class_number, gap.score, gap.best) for gap in strengths(OF)]
    assert found == [(2, 1, "precision", 1.0)]


def test_a_class_that_occurs_and_is_never_called_is_a_weakness_of_precision() -> None:
    of = build_leaderboard(answered(TARGETS, TARGETS, [0] * 20), "test")
    assert {(g.class_number, g.score, g.value) for g in weaknesses(of)} >= {(1, "precision", 0.0)}


def test_confusions_are_counted_for_each() -> None:
    assert [vars(pair) for pair in confused_pairs(OF, 0)] == [
        {"true_class": 1, "predicted_class": 0, "weight": 4, "share": 0.4},
        {"true_class": 0, "predicted_class": 1, "weight": 1, "share": 0.1},
    ]
    assert [(p.true_class, p.predicted_class) for p in confused_pairs(OF, 2)] == [(0, 2)]
    assert confused_pairs(build_leaderboard(answered(TARGETS, TARGETS), "test"), 0) == []


def test_images_that_divide_most_evenly_come_first() -> None:
    answers = answered([0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1])
    assert vars(agreement(answers)) == {"all_correct": 1, "all_wrong": 1, "mixed": 2}
    found = disagreements(answers)
    assert [one.row for one in found] == [1, 2]
    assert found[0].votes == {"class 1": ("b", "c", "d"), "class 0": ("a",)}
    assert [one.row for one in disagreements(answers, 1)] == [1]
