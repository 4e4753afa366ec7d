"""Images on which classifiers disagree.

Shape suffixes: N images, M classifiers.
"""

from dataclasses import dataclass

import numpy as np

from holotype.comparison.aligned_predictions import AlignedPredictions


@dataclass(frozen=True)
class Disagreement:
    """One image on which classifiers disagree.

    Attributes:
        row: its number among the compared images.
        id: its relative path.
        true_class: its class.
        votes: the names of the classifiers by the class they predict, most votes first.
    """

    row: int
    id: str
    true_class: str
    votes: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Agreement:
    """How many images all classifiers, none, or some predict correctly."""

    all_correct: int
    all_wrong: int
    mixed: int


def agreement(aligned: AlignedPredictions) -> Agreement:
    num_correct_N, M = aligned.correct_MN.sum(axis=0), len(aligned)
    all_correct, all_wrong = int((num_correct_N == M).sum()), int((num_correct_N == 0).sum())
    return Agreement(all_correct, all_wrong, len(num_correct_N) - all_correct - all_wrong)


def disagreements(aligned: AlignedPredictions, limit: int = 12) -> list[Disagreement]:
    """Images that some classifiers predict correctly and others do not.

    The most evenly divided come first, and of these the ones with the highest mean confidence.
    """
    num_correct_N = aligned.correct_MN.sum(axis=0)
    confidence_N = np.mean([p.probabilities_NC.max(axis=1) for p in aligned.predictions], axis=0)
    mixed = np.flatnonzero((num_correct_N > 0) & (num_correct_N < len(aligned)))
    imbalance_N = np.abs(2 * num_correct_N - len(aligned))
    rows = sorted(
        mixed.tolist(), key=lambda n: (imbalance_N[n], -confidence_N[n], aligned.first.ids[n])
    )
    return [_disagreement(aligned, row) for row in rows[:limit]]


def _disagreement(aligned: AlignedPredictions, row: int) -> Disagreement:
    votes: dict[str, list[str]] = {}
    for name, predicted in zip(aligned.names, aligned.predicted_MN[:, row], strict=True):
        votes.setdefault(aligned.classes[predicted], []).append(name)
    most_first = sorted(votes.items(), key=lambda item: (-len(item[1]), item[0]))
    return Disagreement(
        row,
        aligned.first.ids[row],
        aligned.classes[aligned.first.targets_N[row]],
        {predicted: tuple(names) for predicted, names in most_first},
    )
