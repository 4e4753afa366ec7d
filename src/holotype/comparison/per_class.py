"""Which classifier knows which class, and what each takes for what.

Shape suffixes: N images, C classes, M classifiers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holotype.comparison.leaderboard import Leaderboard
from holotype.evaluation.report_data import ClassScores

RECALL_GAP = PRECISION_GAP = 0.15
MAX_CONFUSED = 5  # pairs of classes for each classifier
_ROUNDING = 1e-9

ScoreName = Literal["recall", "precision"]


@dataclass(frozen=True)
class Gap:
    """A class that one classifier knows much worse than another.

    Attributes:
        classifier: its number.
        class_number: of the class.
        score: of what.
        value: what it reaches; 0 of a class that it never predicts though it occurs.
        best: what the best reaches.
        best_classifier: the number of the best.
    """

    classifier: int
    class_number: int
    score: ScoreName
    value: float
    best: float
    best_classifier: int


@dataclass(frozen=True)
class ClassComparison:
    """One class over all classifiers, by recall.

    Attributes:
        class_number: of the class.
        support: its images.
        best, worst: the numbers of the classifiers; None where the class has no images here or
            all reach the same.
        spread: best recall minus worst; 0 where unknown.
    """

    class_number: int
    support: int
    best: tuple[int, ...]
    worst: tuple[int, ...]
    spread: float

    @property
    def weighted_spread(self) -> float:
        """The spread, counting more where images are many: few make wide gaps by chance."""
        return self.spread * math.sqrt(self.support)


@dataclass(frozen=True)
class Confusion:
    """What one classifier takes for what, most often first.

    Attributes:
        true_class, predicted_class: numbers of the classes.
        weight: of the images.
        share: of the true class.
    """

    true_class: int
    predicted_class: int
    weight: float
    share: float


def class_score(scores: ClassScores, name: ScoreName) -> float | None:
    """Recall or precision; a class that occurs and is never predicted has a precision of 0 here.

    Its precision is 0/0, but a classifier that never names a class is no good at naming it.
    """
    value = scores.recall.value if name == "recall" else scores.precision.value
    if name == "precision" and value is None and scores.support:
        return 0.0
    return value if scores.support else None


def compare_classes(leaderboard: Leaderboard) -> list[ClassComparison]:
    """Best and worst of every class by recall; those that share a place are all named."""
    found = []
    for c, scores in enumerate(leaderboard.per_class[0]):
        recalls = [class_score(of_one[c], "recall") for of_one in leaderboard.per_class]
        known = [recall for recall in recalls if recall is not None]
        spread = max(known) - min(known) if known else 0.0
        differ = spread > _ROUNDING

        def holding(end: float | None, recalls: list[float | None] = recalls) -> tuple[int, ...]:
            return tuple(
                number
                for number, recall in enumerate(recalls)
                if end is not None and recall is not None and abs(recall - end) <= _ROUNDING
            )

        found.append(
            ClassComparison(
                c, scores.support,
                holding(max(known) if differ else None),
                holding(min(known) if differ else None),
                spread,
            )
        )  # fmt: skip
    return found


def weaknesses(
    leaderboard: Leaderboard,
    *,
    recall_gap: float = RECALL_GAP,
    precision_gap: float = PRECISION_GAP,
) -> list[Gap]:
    """Where a classifier lies that far below the best at a class; the widest gap first."""
    found = [
        Gap(number, c, name, value, best, best_classifier)
        for name, gap in _gaps(recall_gap, precision_gap)
        for c, values in _scores_by_class(leaderboard, name)
        for best_classifier, best in [max(values.items(), key=lambda row: row[1])]
        for number, value in values.items()
        if best - value >= gap - _ROUNDING
    ]
    return sorted(found, key=lambda gap: (gap.value - gap.best, gap.class_number, gap.classifier))


def strengths(
    leaderboard: Leaderboard,
    *,
    recall_gap: float = RECALL_GAP,
    precision_gap: float = PRECISION_GAP,
) -> list[Gap]:
    """Where a classifier is the only best at a class, and another lies that far below it.

    In these gaps `value` is what the worst of the others reaches, and `best_classifier` is the
    classifier itself.
    """
    found = []
    for name, gap in _gaps(recall_gap, precision_gap):
        for c, values in _scores_by_class(leaderboard, name):
            best_classifier, best = max(values.items(), key=lambda row: row[1])
            lowest = min(values.values())
            alone = sum(best - value <= _ROUNDING for value in values.values()) == 1
            if alone and best - lowest >= gap - _ROUNDING:
                found.append(Gap(best_classifier, c, name, lowest, best, best_classifier))
    return sorted(found, key=lambda gap: (gap.value - gap.best, gap.class_number, gap.classifier))


def confused_pairs(
    leaderboard: Leaderboard, number: int, limit: int = MAX_CONFUSED
) -> list[Confusion]:
    """The commonest confusions of one classifier."""
    aligned = leaderboard.aligned
    C = len(aligned.classes)
    targets_N, called_N = aligned.first.targets_N, aligned.predicted_MN[number]
    wrong_N = targets_N != called_N
    cells, where = np.unique(targets_N[wrong_N] * C + called_N[wrong_N], return_inverse=True)
    weights = np.bincount(where, aligned.weights_N[wrong_N], minlength=len(cells))
    of_class_C = np.bincount(targets_N, aligned.weights_N, minlength=C)
    commonest = np.argsort(-weights, kind="stable")[:limit]
    return [
        Confusion(
            int(cells[k] // C), int(cells[k] % C), float(weights[k]),
            float(weights[k] / of_class_C[cells[k] // C]),
        )
        for k in commonest
    ]  # fmt: skip


def _gaps(recall_gap: float, precision_gap: float) -> tuple[tuple[ScoreName, float], ...]:
    return ("recall", recall_gap), ("precision", precision_gap)


def _scores_by_class(
    leaderboard: Leaderboard, name: ScoreName
) -> Iterator[tuple[int, dict[int, float]]]:
    """For every class that occurs the score of each classifier."""
    for c in range(len(leaderboard.aligned.classes)):
        values = {
            number: value
            for number, of_one in enumerate(leaderboard.per_class)
            if (value := class_score(of_one[c], name)) is not None
        }
        if values:
            yield c, values
