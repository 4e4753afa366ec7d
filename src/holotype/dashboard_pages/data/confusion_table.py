"""The confusion matrix of a run by images, each cell with the images that it counts.

Shape suffixes: N images, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dashboard_pages.data.image_table import PREDICTED_PARTS, ImageTable

MAX_CLASSES = 30  # of a matrix that can be read; of more, the most frequent confusions are listed
MAX_PAIRS = 200


@dataclass(frozen=True, eq=False)
class ConfusionTable:
    """Counts of images, whatever they weigh.

    Attributes:
        part: `test`, `val` or `oof`.
        classes: C names.
        counts_CC: rows are true classes, columns predicted ones.
    """

    part: str
    classes: tuple[str, ...]
    counts_CC: NDArray[np.int64]

    @property
    def num_images(self) -> int:
        return int(self.counts_CC.sum())

    @property
    def num_right(self) -> int:
        return int(np.trace(self.counts_CC))

    @property
    def is_small(self) -> bool:
        """Whether the whole matrix can be shown."""
        return len(self.classes) <= MAX_CLASSES

    def share(self, true: int, predicted: int) -> float:
        """Of the images of a class, which share was predicted so; 0 where there are none."""
        total = int(self.counts_CC[true].sum())
        return float(self.counts_CC[true, predicted] / total) if total else 0.0

    def pairs(self) -> list[tuple[int, int, int]]:
        """(true, predicted, count) of the confusions, the most frequent first."""
        wrong_CC = self.counts_CC - np.diag(np.diag(self.counts_CC))
        true, predicted = np.nonzero(wrong_CC)
        counts = wrong_CC[true, predicted]
        order = np.lexsort((predicted, true, -counts))[:MAX_PAIRS]
        return [(int(true[n]), int(predicted[n]), int(counts[n])) for n in order]


def confusion_table(table: ImageTable, part: str) -> ConfusionTable:
    """Of the images of a part that have a prediction and a known class."""
    chosen_N = (
        (table.predicted_part_N == PREDICTED_PARTS.index(part))
        & (table.predicted_N >= 0)
        & (table.target_N >= 0)
    )
    C = len(table.predicted_classes)
    pairs_N = table.target_N[chosen_N].astype(np.int64) * C + table.predicted_N[chosen_N]
    counts_CC = np.bincount(pairs_N, minlength=C * C).reshape(C, C).astype(np.int64)
    return ConfusionTable(part, table.predicted_classes, counts_CC)


def predicted_parts(table: ImageTable) -> list[str]:
    """The parts that have predictions, the most telling one first."""
    return [
        part
        for number, part in enumerate(PREDICTED_PARTS)
        if bool((table.predicted_part_N == number).any())
    ]
