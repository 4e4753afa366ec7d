"""`Report` and `ClassScores`: every score with its 95 % interval, overall and of each class.

Shape suffixes: C classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import did_you_mean
from holotype.evaluation.intervals import Estimate, undefined
from holotype.evaluation.metrics import MAX_LOG_LOSS
from holotype.evaluation.roc_curves import ratio
from holotype.files import read_json, reading
from holotype.notebook import data_frame, html_result, html_table
from holotype.predictions import Predictions
from holotype.progress import pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

# The overall scores, in the order of a report.
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

CLASS_SCORES = ("precision", "recall", "f1", "roc_auc", "average_precision")
ESTIMATE_KEYS = ("value", "low", "high", "method")

# The largest value of the scores that are not fractions; the smallest of all is 0.
MAX_SCORE = {"brier_score": 2.0, "log_loss": MAX_LOG_LOSS}


class Metrics(Mapping[str, Estimate]):
    """Scores by name, each with its 95 % interval: `metrics["accuracy"]` is one `Estimate`.

    Raises:
        KeyError: no such score, with the names that there are.
    """

    def __init__(self, scores: Mapping[str, Estimate]) -> None:
        self._scores = dict(scores)

    def __getitem__(self, name: str) -> Estimate:
        if name not in self._scores:
            hint = did_you_mean(name, self._scores)
            raise KeyError(f"no metric called {name!r}{hint} Known: {', '.join(self._scores)}.")
        return self._scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def to_frame(self) -> "pd.DataFrame":
        """One row per score: metric, value, low, high, method."""
        columns = {key: [getattr(e, key) for e in self.values()] for key in ESTIMATE_KEYS}
        return data_frame({"metric": list(self), **columns})

    def __repr__(self) -> str:
        return short_text("Metrics", text_table(("metric", "score"), self._rows()))

    def _repr_html_(self) -> str:
        return html_result("Metrics", html_table(("metric", "score"), self._rows()))

    def _rows(self) -> list[tuple[str, str]]:
        return [(name, str(estimate)) for name, estimate in self.items()]


_CLASS_HEADER = ("class", "precision", "recall", "F1", "images")
_NOT_COMPUTED = undefined("not computed")


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class against the rest.

    Attributes:
        name: the class.
        support: images of the class.
        predicted: images predicted as the class.
        precision, recall, f1, roc_auc, average_precision: with intervals, in [0, 1].
    """

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: Estimate = _NOT_COMPUTED
    average_precision: Estimate = _NOT_COMPUTED

    def to_json(self) -> dict[str, Any]:
        scores = {name: getattr(self, name).to_json() for name in CLASS_SCORES}
        return {**scores, "support": self.support, "predicted": self.predicted}


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The scores of a classifier on labelled images; `report["accuracy"]` is one `Estimate`.

    Attributes:
        part: the name of the images, such as ``test``.
        classes: class names, in the order of the confusion matrix.
        metrics: the overall scores, by name.
        per_class: the scores of every class, in order.
        confusion_CC: sums of weights; rows are true classes, columns predicted ones.
        num_images: images with a known class and a weight above 0, on which the scores are.
        num_unlabelled: images left out because their class is not known.
        num_zero_weight: images left out because their weight is 0.
        num_groups: how many groups the images come from; None where they have no groups.
        weighted: whether images carry different weights.
        caveats: limits of the scores, as sentences.
        path: the page; None where none was written.
        predictions: what was scored; None where only the scores were read.
    """

    part: str
    classes: tuple[str, ...]
    metrics: Metrics
    per_class: tuple[ClassScores, ...]
    confusion_CC: NDArray[np.float64]
    num_images: int
    num_unlabelled: int
    num_zero_weight: int
    num_groups: int | None
    weighted: bool
    caveats: tuple[str, ...]
    path: Path | None = None
    predictions: Predictions | None = None

    @classmethod
    def from_json(cls, found: Mapping[str, Any], *, path: Path | None = None) -> "Report":
        """What `to_json` made; other keys, such as those of class weighting, are not read."""
        scores = {name: _estimate(found[name]) for name in SCORES if name in found}
        per_class = tuple(
            ClassScores(
                name,
                int(each["support"]),
                int(each["predicted"]),
                **{score: _estimate(each[score]) for score in CLASS_SCORES},
            )
            for name, each in found["per_class"].items()
        )
        classes = tuple(map(str, found["classes"]))
        groups = found["num_groups"]
        return cls(
            part=str(found["part"]),
            classes=classes,
            metrics=Metrics(scores),
            per_class=per_class,
            confusion_CC=np.array(found["confusion_matrix"], np.float64).reshape(
                len(classes), len(classes)
            ),
            num_images=int(found["num_images"]),
            num_unlabelled=int(found["num_unlabelled"]),
            num_zero_weight=int(found["num_zero_weight"]),
            num_groups=None if groups is None else int(groups),
            weighted=bool(found["weighted"]),
            caveats=tuple(map(str, found["caveats"])),
            path=path,
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per class: class, support, predicted, and every score with its interval."""
        columns: dict[str, list[Any]] = {
            "class": list(self.classes),
            "support": [each.support for each in self.per_class],
            "predicted": [each.predicted for each in self.per_class],
        }
        for score in CLASS_SCORES:
            found = [getattr(each, score) for each in self.per_class]
            columns[score] = [estimate.value for estimate in found]
            columns[f"{score}_low"] = [estimate.low for estimate in found]
            columns[f"{score}_high"] = [estimate.high for estimate in found]
        return data_frame(columns)

    @property
    def confusion_matrix(self) -> "pd.DataFrame":
        """(C, C): rows are true classes, columns predicted ones; weights are summed."""
        columns = dict(zip(self.classes, self.confusion_CC.T, strict=True))
        return data_frame(columns).set_axis(list(self.classes), axis=0)

    def __repr__(self) -> str:
        return short_text(
            self._title, text_table(_CLASS_HEADER, self._class_rows(), max_rows=TEXT_ROWS)
        )

    def _repr_html_(self) -> str:
        return html_result(
            self._title, html_table(_CLASS_HEADER, self._class_rows()), notes=self.caveats
        )

    @property
    def _title(self) -> str:
        images = pluralize(self.num_images, "image")
        return f"Report on {images} ({self.part}): accuracy {self.metrics['accuracy']}"

    def _class_rows(self) -> list[tuple[str, ...]]:
        return [
            (each.name, str(each.precision), str(each.recall), str(each.f1), f"{each.support:,}")
            for each in self.per_class
        ]

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    @property
    def normalised_confusion_CC(self) -> NDArray[np.float64]:
        """Rows divided by their sums, with the recalls on the diagonal; NaN without images."""
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
            **{name: estimate.to_json() for name, estimate in self.metrics.items()},
            "classes": list(self.classes),
            "per_class": {scores.name: scores.to_json() for scores in self.per_class},
            "confusion_matrix": counts_CC.tolist(),
            "confusion_matrix_normalised": [
                [None if np.isnan(cell) else cell for cell in row] for row in rows
            ],
            "caveats": list(self.caveats),
        }


def read_report(file: Path) -> Report:
    """The scores in a `metrics.json`; the page beside it is their path.

    Raises:
        CorruptFile: it is damaged.
    """
    found = read_json(file)
    with reading(file):
        return Report.from_json(found, path=file.parent / "index.html")


def _estimate(value: Mapping[str, Any]) -> Estimate:
    numbers: list[float | None] = [value[name] for name in ("value", "low", "high")]
    for number in numbers:
        if number is not None and not (
            type(number) in (int, float) and 0 <= number <= MAX_LOG_LOSS
        ):
            raise ValueError(f"a score is {number!r:.40}")
    low, high = numbers[1:]
    return Estimate(numbers[0], low, high, str(value["method"]))
