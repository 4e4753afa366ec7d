"""A rule in words chooses as a person would."""

from collections.abc import Sequence

import pytest

from holotype.comparison.cost import RunCost
from holotype.comparison.leaderboard import Leaderboard, build_leaderboard
from holotype.comparison.selection import Selection, parse_rule, select_run
from holotype.errors import InvalidSelection
from tests.comparison.made import answered

TARGETS = [0, 1] * 100


def _right(count: int) -> list[int]:
    return [t if n < count else 1 - t for n, t in enumerate(TARGETS)]


def _on(part: str = "val") -> Leaderboard:
    """a, b, c and d with accuracies 0.92, 0.915, 0.90 and 0.80."""
    return build_leaderboard(
        answered(TARGETS, *map(_right, (184, 183, 180, 160)), num_classes=2), part
    )


COSTS = [
    RunCost(9, 900, None, 10.0, 0.9, 900),
    RunCost(8, 950, None, 20.0, 0.8, 800),
    RunCost(7, 100, None, 20.0, 0.2, 850),
    RunCost(1, 1, None, 99.0, 0.1, 1),
]


def _chosen(rule: str, costs: Sequence[RunCost] = COSTS) -> Selection:
    return select_run(_on(), costs, parse_rule(rule))


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("best", "a"),
        ("the best accuracy", "a"),
        ("within 1 point of the best, then fastest", "b"),
        ("Within 2 points of the best, then FASTEST", "b"),  # c is as fast, b is better
        ("within 2 points of the best, then fastest, then smallest", "c"),
        ("within 2% of the best then lowest latency", "c"),
        ("within 2 points of the best, least memory", "b"),
        ("within 50 points of the best, then fewest parameters", "d"),
        ("within 2.0 points of the best balanced accuracy, then the smallest", "c"),
        ("tied with the best, then smallest", "c"),
        ("best log loss", "a"),
    ],
)
def test_rules(rule: str, name: str) -> None:
    assert _on().names[_chosen(rule).chosen] == name


def test_the_candidates_are_those_that_were_good_enough() -> None:
    assert _chosen("within 1 point of the best, then fastest").eligible == (1, 0)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("", "begins with ''"),
        ("fastest", "expected 'best'"),
        ("within a point of the best", "'within NUMBER points of the best'"),
        ("best, then quickest", "asks for 'quickest'"),
        ("best, then smalest", "did you mean 'smallest'?"),
        (
            "best f1",
            "balanced accuracy, macro precision, weighted precision, macro f1, log loss",
        ),
        ("within 1 point of the best log loss", "log loss has no points"),
    ],
)
def test_words_that_make_no_sense_are_answered_with_those_that_do(rule: str, says: str) -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse_rule(rule)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_test_chooses_nothing() -> None:
    with pytest.raises(InvalidSelection, match="never chosen on test"):
        select_run(_on("test"), COSTS, parse_rule("best"))


def test_a_cost_that_is_not_known_is_named() -> None:
    costs = [COSTS[0], RunCost(), *COSTS[2:]]
    with pytest.raises(InvalidSelection, match="images per second, which is not known of 'b'"):
        _chosen("within 1 point of the best, then fastest", costs)
    assert _chosen("best, then fastest", costs).chosen == 0  # b is no candidate
