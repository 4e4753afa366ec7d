"""Images about which classifiers disagree: the ones worth a look.

Shape suffixes: N images, M classifiers.
"""

from dataclasses import dataclass

import numpy as np

from holotype.comparison.aligned_predictions import AlignedPredictions


@dataclass(frozen=True)
class Disagreement:
    """One image.

    Attributes:
        row: its number among the images compared.
        id: its relative path.
        true_class: of the image.
        votes: for every class that was named the classifiers that named it, most of them first.
    """

    row: int
    id: str
    true_class: str
    votes: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Agreement:
    """How often all say the same.

    Attributes:
        all_correct: images that all call rightly.
        all_wrong: images that none calls rightly.
        mixed: images that some call rightly and others do not.
    """

    all_correct: int
    all_wrong: int
    mixed: int


def agreement(aligned: AlignedPredictions) -> Agreement:
    """Counts of images."""
    right_N = aligned.correct_MN.sum(axis=0)
    M = len(aligned)
    return Agreement(
        int((right_N == M).sum()),
        int((right_N == 0).sum()),
        int(((right_N > 0) & (right_N < M)).sum()),
    )


def disagreements(aligned: AlignedPredictions, limit: int = 12) -> list[Disagreement]:
    """Images that some call rightly and others do not.

    Those that divide the classifiers most evenly come first, and of these the ones about which
    they are surest: there both sides have learnt something, and one of them the wrong thing.
    """
    right_N = aligned.correct_MN.sum(axis=0)
    confidence_N = np.mean([p.probabilities_NC.max(axis=1) for p in aligned.predictions], axis=0)
    divided = np.flatnonzero((right_N > 0) & (right_N < len(aligned)))
    uneven_N = np.abs(2 * right_N - len(aligned))
    rows = sorted(
        divided.tolist(), key=lambda n: (uneven_N[n], -confidence_N[n], aligned.first.ids[n])
    )
    return [_disagreement(aligned, row) for row in rows[:limit]]


def _disagreement(aligned: AlignedPredictions, row: int) -> Disagreement:
    said: dict[str, list[str]] = {}
    for name, predicted in zip(aligned.names, aligned.predicted_MN[:, row], strict=True):
        said.setdefault(aligned.classes[predicted], []).append(name)
    most_first = sorted(said.items(), key=lambda item: (-len(item[1]), item[0]))
    return Disagreement(
        row,
        aligned.first.ids[row],
        aligned.classes[aligned.first.targets_N[row]],
        {called: tuple(names) for called, names in most_first},
    )
