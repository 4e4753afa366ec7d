"""Pictures about which classifiers disagree: the ones worth a look.

Shape suffixes: N pictures, M classifiers.
"""

from dataclasses import dataclass

import numpy as np

from holotype.comparison.answers import Answers


@dataclass(frozen=True)
class Disagreement:
    """One picture.

    Attributes:
        row: its number among the pictures compared.
        id: its relative path.
        true_class: of the picture.
        said: for every class that was named the classifiers that named it, most of them first.
    """

    row: int
    id: str
    true_class: str
    said: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Agreement:
    """How often all say the same.

    Attributes:
        all_right: pictures that all call rightly.
        all_wrong: pictures that none calls rightly.
        differ: pictures that some call rightly and others do not.
    """

    all_right: int
    all_wrong: int
    differ: int


def agreement(answers: Answers) -> Agreement:
    """Counts of pictures."""
    right_N = answers.correct_MN.sum(axis=0)
    M = len(answers)
    return Agreement(
        int((right_N == M).sum()),
        int((right_N == 0).sum()),
        int(((right_N > 0) & (right_N < M)).sum()),
    )


def disagreements(answers: Answers, most: int = 12) -> list[Disagreement]:
    """Pictures that some call rightly and others do not.

    Those that divide the classifiers most evenly come first, and of these the ones about which
    they are surest: there both sides have learnt something, and one of them the wrong thing.
    """
    right_N = answers.correct_MN.sum(axis=0)
    confidence_N = np.mean([p.probabilities_NC.max(axis=1) for p in answers.predictions], axis=0)
    divided = np.flatnonzero((right_N > 0) & (right_N < len(answers)))
    uneven_N = np.abs(2 * right_N - len(answers))
    rows = sorted(
        divided.tolist(), key=lambda n: (uneven_N[n], -confidence_N[n], answers.first.ids[n])
    )
    return [_disagreement(answers, row) for row in rows[:most]]


def _disagreement(answers: Answers, row: int) -> Disagreement:
    said: dict[str, list[str]] = {}
    for name, predicted in zip(answers.names, answers.predicted_MN[:, row], strict=True):
        said.setdefault(answers.classes[predicted], []).append(name)
    most_first = sorted(said.items(), key=lambda item: (-len(item[1]), item[0]))
    return Disagreement(
        row,
        answers.first.ids[row],
        answers.classes[answers.first.targets_N[row]],
        {called: tuple(names) for called, names in most_first},
    )
