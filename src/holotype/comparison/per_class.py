"""Classifiers compared class by class: recall, precision, strengths, weaknesses, confusions.

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
    """A large difference in recall or precision of one class between two classifiers.

    Attributes:
        classifier: the number of the classifier.
        class_number: of the class.
        score: which of the two.
        value: the lower score; a precision of 0 for a class that occurs and is never predicted.
        best: the highest score of all classifiers.
        best_classifier: the number of the classifier that has it.
    """

    classifier: int
    class_number: int
    score: ScoreName
    value: float
    best: float
    best_classifier: int


@dataclass(frozen=True)
class ClassComparison:
    """The recall of one class by all classifiers.

    Attributes:
        class_number: of the class.
        support: its images.
        best, worst: the numbers of the classifiers; empty where the class has no images or all
            recalls are equal.
        spread: best recall minus worst; 0 where unknown.
    """

    class_number: int
    support: int
    best: tuple[int, ...]
    worst: tuple[int, ...]
    spread: float

    @property
    def weighted_spread(self) -> float:
        """The spread times the square root of the images: few images give wide gaps by chance."""
        return self.spread * math.sqrt(self.support)


@dataclass(frozen=True)
class Confusion:
    """A pair of classes that one classifier confuses.

    Attributes:
        true_class, predicted_class: numbers of the classes.
        weight: summed over the images.
        share: of the weight of the true class.
    """

    true_class: int
    predicted_class: int
    weight: float
    share: float


def class_score(scores: ClassScores, name: ScoreName) -> float | None:
    """Recall or precision; None for a class without images.

    The precision of a class that occurs and is never predicted is 0 here instead of 0/0.
    """
    if not scores.support:
        return None
    return scores.recall.value if name == "recall" else scores.precision.value or 0.0


def compare_classes(leaderboard: Leaderboard) -> list[ClassComparison]:
    """The classifiers with the best and the worst recall of every class, ties included."""
    found = []
    for c, scores in enumerate(leaderboard.per_class[0]):
        recalls = {
            number: recall
            for number, of_one in enumerate(leaderboard.per_class)
            if (recall := class_score(of_one[c], "recall")) is not None
        }
        highest, lowest = max(recalls.values(), default=0.0), min(recalls.values(), default=0.0)
        differ = highest - lowest > _ROUNDING
        best, worst = (
            tuple(n for n, recall in recalls.items() if differ and abs(recall - end) <= _ROUNDING)
            for end in (highest, lowest)
        )
        found.append(ClassComparison(c, scores.support, best, worst, highest - lowest))
    return found


def weaknesses(
    leaderboard: Leaderboard,
    *,
    recall_gap: float = RECALL_GAP,
    precision_gap: float = PRECISION_GAP,
) -> list[Gap]:
    """Scores at least that far below the best classifier of the class; the widest gap first."""
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
    """Scores better than those of all other classifiers, and that far above the worst.

    In these gaps `value` is the score of the worst, and `best_classifier` the classifier itself.
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


def confused_pairs(leaderboard: Leaderboard, number: int) -> list[Confusion]:
    """The most frequent confusions of one classifier."""
    aligned = leaderboard.aligned
    C = len(aligned.classes)
    targets_N, predicted_N = aligned.first.targets_N, aligned.predicted_MN[number]
    wrong_N = targets_N != predicted_N
    pairs, pair_N = np.unique(targets_N[wrong_N] * C + predicted_N[wrong_N], return_inverse=True)
    weights = np.bincount(pair_N, aligned.weights_N[wrong_N], minlength=len(pairs))
    class_weight_C = np.bincount(targets_N, aligned.weights_N, minlength=C)
    found = []
    for k in np.argsort(-weights, kind="stable")[:MAX_CONFUSED]:
        true_class, predicted_class = divmod(int(pairs[k]), C)
        share = float(weights[k] / class_weight_C[true_class])
        found.append(Confusion(true_class, predicted_class, float(weights[k]), share))
    return found


def _gaps(recall_gap: float, precision_gap: float) -> tuple[tuple[ScoreName, float], ...]:
    return ("recall", recall_gap), ("precision", precision_gap)


def _scores_by_class(
    leaderboard: Leaderboard, name: ScoreName
) -> Iterator[tuple[int, dict[int, float]]]:
    """For every class with images the score of each classifier, by its number."""
    for c in range(len(leaderboard.aligned.classes)):
        values = {
            number: value
            for number, of_one in enumerate(leaderboard.per_class)
            if (value := class_score(of_one[c], name)) is not None
        }
        if values:
            yield c, values
