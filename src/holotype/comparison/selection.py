"""The run to ship, by a rule such as "within 1 point of the best, then fastest".

    rule         which runs are eligible, then preferences, each deciding among equals
    eligible     best | within NUMBER points of the best | tied with the best
                 after "best" a score may be named: accuracy (the default), balanced accuracy,
                 macro F1, log loss
    preference   fastest | smallest | lowest latency | least memory | fewest parameters

A point is one hundredth: 91.0 % is within 1 point of 91.8 %. The choice is made on validation or
out of fold, never on test.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holotype.comparison.bootstrap import ACCURACY, METRICS
from holotype.comparison.cost import RunCost
from holotype.comparison.leaderboard import Leaderboard
from holotype.errors import InvalidSelection, did_you_mean

EXAMPLE = "within 1 point of the best, then fastest"

# preference -> the field of RunCost, whether more of it is better
PREFERENCES = {
    "fastest": ("images_per_second", True),
    "smallest": ("size_bytes", False),
    "lowest latency": ("latency_seconds", False),
    "least memory": ("memory_bytes", False),
    "fewest parameters": ("parameters", False),
}
_SCORES = {ACCURACY: ACCURACY, **{m.title.lower(): name for name, m in METRICS.items()}}
_BEST = re.compile(r"(?:the )?best(?: (?P<score>.+))?")
_WITHIN = re.compile(
    r"within (?P<points>\d+(?:\.\d+)?) ?(?:points?|%) of the best(?: (?P<score>.+))?"
)
_TIED = re.compile(r"(?:tied with|not worse than) the best")
_ROUNDING = 1e-9
NO_ADVICE: Mapping[str, str] = {}


@dataclass(frozen=True)
class SelectionRule:
    """How to choose.

    Attributes:
        text: as it was written.
        score: the name of the score that decides who is eligible.
        tolerance: the largest difference to the best, as a fraction; None: all that do not differ
            significantly from it.
        preferences: fields of `RunCost`, the most important first.
    """

    text: str
    score: str
    tolerance: float | None
    preferences: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """The choice of a rule.

    Attributes:
        rule: the rule.
        part: the leaderboard it was applied to, `val` or `oof`.
        chosen: the number of the classifier in that leaderboard.
        eligible: the numbers of the eligible classifiers, the chosen one first.
        passed_over: why classifiers of these names could not be chosen.
    """

    rule: SelectionRule
    part: str
    chosen: int
    eligible: tuple[int, ...]
    passed_over: Mapping[str, str]


def parse_rule(text: str) -> SelectionRule:
    """Parse a rule.

    Raises:
        InvalidSelection: it is not one; the message says what is expected.
    """
    plain = " ".join(text.lower().split())
    words = [word for word in re.split(r",\s*(?:then\s+)?|\s+then\s+", plain) if word]
    first, *rest = words or [""]
    score, tolerance = _parse_eligible(first, text)
    return SelectionRule(
        text, score, tolerance, tuple(PREFERENCES[_preference(w, text)][0] for w in rest)
    )


def select_run(
    leaderboard: Leaderboard,
    costs: Sequence[RunCost],
    rule: SelectionRule,
    advised_against: Mapping[str, str] = NO_ADVICE,
) -> Selection:
    """Apply a rule.

    Args:
        leaderboard: on validation or out of fold.
        costs: of each classifier of the leaderboard.
        advised_against: names of classifiers that are passed over, with the reason, unless there is
            no other, such as ensembles that are no better than their best member.

    Raises:
        InvalidSelection: the leaderboard is that of test, or the cost of an eligible run is
            unknown.
    """
    if leaderboard.part == "test":
        raise InvalidSelection("a run is never chosen on test; train with a validation part.")
    values = _values(leaderboard, rule.score)
    names = leaderboard.names
    passed_over = {name: advised_against[name] for name in names if name in advised_against}
    others = {n: value for n, value in values.items() if names[n] not in passed_over}
    values, passed_over = (others, passed_over) if others else (values, {})
    good = _eligible(leaderboard, values, rule)
    lower_is_better = rule.score in METRICS and METRICS[rule.score].lower_is_better
    for field in rule.preferences:
        unknown = [leaderboard.names[n] for n in good if getattr(costs[n], field) is None]
        if unknown:
            raise InvalidSelection(
                f"--select {rule.text!r} asks for {field.replace('_', ' ')}, which is not known of "
                f"{', '.join(map(repr, unknown[:3]))}; it is measured on validation images that "
                "lie where they were trained from, with --speed-images above 0."
            )
    more_is_better = dict(PREFERENCES.values())

    def key(number: int) -> tuple[float, ...]:
        prices = [
            getattr(costs[number], field) * (-1 if more_is_better[field] else 1)
            for field in rule.preferences
        ]
        return *prices, values[number] * (1 if lower_is_better else -1)

    ordered = sorted(good, key=lambda number: (key(number), leaderboard.names[number]))
    return Selection(rule, leaderboard.part, ordered[0], tuple(ordered), passed_over)


def _values(leaderboard: Leaderboard, score: str) -> Mapping[int, float]:
    return {
        number: value
        for number in range(len(leaderboard))
        if (value := leaderboard.value(score, number)) is not None
    }


def _eligible(
    leaderboard: Leaderboard, values: Mapping[int, float], rule: SelectionRule
) -> list[int]:
    if rule.tolerance is None:
        first = max(values, key=lambda n: (values[n], -n))
        tests = {n: leaderboard.test(first, n) for n in values}
        return [n for n, test in tests.items() if test is None or not test.is_significant]
    lower_is_better = rule.score in METRICS and METRICS[rule.score].lower_is_better
    best = min(values.values()) if lower_is_better else max(values.values())
    return [n for n, value in values.items() if abs(value - best) <= rule.tolerance + _ROUNDING]


def _parse_eligible(words: str, text: str) -> tuple[str, float | None]:
    if _TIED.fullmatch(words):
        return ACCURACY, None
    if found := _BEST.fullmatch(words):
        return _score(found["score"], text), 0.0
    if found := _WITHIN.fullmatch(words):
        score = _score(found["score"], text)
        if score in METRICS and not METRICS[score].uses_predicted_class:
            raise InvalidSelection(
                f"--select {text!r}: log loss has no points; say 'best log loss', or name "
                "accuracy, balanced accuracy or macro F1."
            )
        return score, float(found["points"]) / 100
    raise InvalidSelection(
        f"--select {text!r} begins with {words!r}; expected 'best', 'within NUMBER points of the "
        f"best' or 'tied with the best', such as {EXAMPLE!r}."
    )


def _score(words: str | None, text: str) -> str:
    if words is None:
        return ACCURACY
    if words not in _SCORES:
        hint = did_you_mean(words, _SCORES)
        raise InvalidSelection(
            f"--select {text!r} names the score {words!r}{hint} "
            f"Expected one of {', '.join(_SCORES)}."
        )
    return _SCORES[words]


def _preference(words: str, text: str) -> str:
    plain = words.removeprefix("the ")
    if plain not in PREFERENCES:
        hint = did_you_mean(plain, PREFERENCES)
        raise InvalidSelection(
            f"--select {text!r} asks for {words!r}{hint} Expected one "
            f"of {', '.join(PREFERENCES)}, such as {EXAMPLE!r}."
        )
    return plain
