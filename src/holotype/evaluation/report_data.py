"""What a report holds: every score with its interval, of the whole and of every class.

Shape suffixes: C classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import Estimate
from holotype.evaluation.metrics import MAX_LOG_LOSS
from holotype.evaluation.roc_curves import ratio

# Every score of the whole, in the order of reading.
SCORES = (
    "accuracy",
    "accuracy_unweighted",
    "balanced_accuracy",
    "top_2_accuracy",
    "top_5_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "macro_roc_auc",
    "micro_roc_auc",
    "macro_average_precision",
    "log_loss",
    "brier_score",
    "expected_calibration_error",
)

# The largest value of the scores that are not fractions; the least is 0.
MAX_SCORE = {"brier_score": 2.0, "log_loss": MAX_LOG_LOSS}


@dataclass(frozen=True)
class ClassScores:
    """How one class fares against the rest.

    Attributes:
        name: the class.
        support: its images.
        predicted: images that were called so.
        precision, recall, f1, roc_auc, average_precision: with intervals.
    """

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: Estimate
    average_precision: Estimate

    def to_json(self) -> dict[str, Any]:
        names = ("precision", "recall", "f1", "roc_auc", "average_precision")
        scores = {name: getattr(self, name).to_json() for name in names}
        return {**scores, "support": self.support, "predicted": self.predicted}


@dataclass(frozen=True, eq=False)
class Report:
    """What predictions say about a classifier; `report["accuracy"]` is one `Estimate`.

    Attributes:
        part: which images these are, such as ``test``.
        classes: class names, in the order of the confusion matrix.
        estimates: every score of the whole, by name.
        per_class: every class, in order.
        confusion_CC: rows are true classes, columns predicted ones; weights are summed.
        num_images: images with a known class and a weight above 0: those that were counted.
        num_unlabelled: images left out because their class is not known.
        num_zero_weight: images left out because their weight is 0.
        num_groups: how many groups the images come from; None where they have no groups.
        weighted: whether images carry different weights.
        caveats: what a reader must know before quoting a score, as sentences.
    """

    part: str
    classes: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    per_class: tuple[ClassScores, ...]
    confusion_CC: NDArray[np.float64]
    num_images: int
    num_unlabelled: int
    num_zero_weight: int
    num_groups: int | None
    weighted: bool
    caveats: tuple[str, ...]

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    @property
    def normalised_confusion_CC(self) -> NDArray[np.float64]:
        """Rows sum to 1; NaN for a class without images."""
        rows_C1 = self.confusion_CC.sum(axis=1, keepdims=True)
        return ratio(self.confusion_CC, np.broadcast_to(rows_C1, self.confusion_CC.shape))

    def to_json(self) -> dict[str, Any]:
        """As metrics.json holds it: numbers are finite or null."""
        counts_CC = self.confusion_CC if self.weighted else self.confusion_CC.round().astype(int)
        rows = self.normalised_confusion_CC.round(6).tolist()
        return {
            "part": self.part,
            "num_images": self.num_images,
            "num_unlabelled": self.num_unlabelled,
            "num_zero_weight": self.num_zero_weight,
            "num_groups": self.num_groups,
            "weighted": self.weighted,
            **{name: estimate.to_json() for name, estimate in self.estimates.items()},
            "classes": list(self.classes),
            "per_class": {scores.name: scores.to_json() for scores in self.per_class},
            "confusion_matrix": counts_CC.tolist(),
            "confusion_matrix_normalised": [
                [None if np.isnan(cell) else cell for cell in row] for row in rows
            ],
            "caveats": list(self.caveats),
        }
