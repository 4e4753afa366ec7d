"""Which classifier knows which class, and what each takes for what.

Shape suffixes: N pictures, C classes, M classifiers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holotype.comparison.standing import Standing
from holotype.evaluation.scores import ClassScores

RECALL_GAP = PRECISION_GAP = 0.15
MOST_CONFUSED = 5  # pairs of classes for each classifier
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
        holder: the number of the best.
    """

    classifier: int
    class_number: int
    score: ScoreName
    value: float
    best: float
    holder: int


@dataclass(frozen=True)
class OfClass:
    """One class over all classifiers, by recall.

    Attributes:
        class_number: of the class.
        support: its pictures.
        best, worst: the numbers of the classifiers; None where the class has no pictures here or
            all reach the same.
        spread: best recall minus worst; 0 where unknown.
    """

    class_number: int
    support: int
    best: tuple[int, ...]
    worst: tuple[int, ...]
    spread: float

    @property
    def clearness(self) -> float:
        """The spread, counting more where pictures are many: few make wide gaps by chance."""
        return self.spread * math.sqrt(self.support)


@dataclass(frozen=True)
class Confusion:
    """What one classifier takes for what, most often first.

    Attributes:
        true_class, called: numbers of the classes.
        weight: of the pictures.
        share: of the true class.
    """

    true_class: int
    called: int
    weight: float
    share: float


def score_of(scores: ClassScores, name: ScoreName) -> float | None:
    """Recall or precision; a class that occurs and is never predicted has a precision of 0 here.

    Its precision is 0/0, but a classifier that never names a class is no good at naming it.
    """
    value = scores.recall.value if name == "recall" else scores.precision.value
    if name == "precision" and value is None and scores.support:
        return 0.0
    return value if scores.support else None


def by_class(standing: Standing) -> list[OfClass]:
    """Best and worst of every class by recall; those that share a place are all named."""
    found = []
    for c, scores in enumerate(standing.per_class[0]):
        recalls = [score_of(of_one[c], "recall") for of_one in standing.per_class]
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
            OfClass(
                c, scores.support,
                holding(max(known) if differ else None),
                holding(min(known) if differ else None),
                spread,
            )
        )  # fmt: skip
    return found


def weaknesses(
    standing: Standing, *, recall_gap: float = RECALL_GAP, precision_gap: float = PRECISION_GAP
) -> list[Gap]:
    """Where a classifier lies that far below the best at a class; the widest gap first."""
    found = [
        Gap(number, c, name, value, best, holder)
        for name, gap in _gaps(recall_gap, precision_gap)
        for c, values in _by_class(standing, name)
        for holder, best in [max(values.items(), key=lambda row: row[1])]
        for number, value in values.items()
        if best - value >= gap - _ROUNDING
    ]
    return sorted(found, key=lambda gap: (gap.value - gap.best, gap.class_number, gap.classifier))


def strengths(
    standing: Standing, *, recall_gap: float = RECALL_GAP, precision_gap: float = PRECISION_GAP
) -> list[Gap]:
    """Where a classifier is the only best at a class, and another lies that far below it.

    In these gaps `value` is what the worst of the others reaches, and `holder` is the classifier
    itself.
    """
    found = []
    for name, gap in _gaps(recall_gap, precision_gap):
        for c, values in _by_class(standing, name):
            holder, best = max(values.items(), key=lambda row: row[1])
            lowest = min(values.values())
            alone = sum(best - value <= _ROUNDING for value in values.values()) == 1
            if alone and best - lowest >= gap - _ROUNDING:
                found.append(Gap(holder, c, name, lowest, best, holder))
    return sorted(found, key=lambda gap: (gap.value - gap.best, gap.class_number, gap.classifier))


def confused_pairs(standing: Standing, number: int, most: int = MOST_CONFUSED) -> list[Confusion]:
    """The commonest confusions of one classifier."""
    answers = standing.answers
    C = len(answers.classes)
    targets_N, called_N = answers.first.targets_N, answers.predicted_MN[number]
    wrong_N = targets_N != called_N
    cells, where = np.unique(targets_N[wrong_N] * C + called_N[wrong_N], return_inverse=True)
    weights = np.bincount(where, answers.weights_N[wrong_N], minlength=len(cells))
    of_class_C = np.bincount(targets_N, answers.weights_N, minlength=C)
    commonest = np.argsort(-weights, kind="stable")[:most]
    return [
        Confusion(
            int(cells[k] // C), int(cells[k] % C), float(weights[k]),
            float(weights[k] / of_class_C[cells[k] // C]),
        )
        for k in commonest
    ]  # fmt: skip


def _gaps(recall_gap: float, precision_gap: float) -> tuple[tuple[ScoreName, float], ...]:
    return ("recall", recall_gap), ("precision", precision_gap)


def _by_class(standing: Standing, name: ScoreName) -> Iterator[tuple[int, dict[int, float]]]:
    """For every class that occurs the score of each classifier."""
    for c in range(len(standing.answers.classes)):
        values = {
            number: value
            for number, of_one in enumerate(standing.per_class)
            if (value := score_of(of_one[c], name)) is not None
        }
        if values:
            yield c, values
