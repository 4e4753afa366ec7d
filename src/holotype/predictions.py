"""Predictions: one row per image, labelled or not.

Shape suffixes: N images, C classes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from holotype.arguments import row_number
from holotype.errors import DatasetError, ImageError, InvalidTable
from holotype.files import csv_text, write_bytes
from holotype.imaging.image_warnings import warnings_as_json
from holotype.notebook import data_frame, html_result, html_table
from holotype.parquet_files import Kind, parse_names, read_parquet, write_parquet
from holotype.progress import pluralize
from holotype.single_prediction import Prediction
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

UNLABELLED = -1  # the target of an image whose class is not known
SHOWN_CLASSES = 12  # columns of probabilities in an HTML table
SHOWN_REFUSED = 3  # in a repr and a notebook


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """The prediction sets of N images, and how they were made.

    Attributes:
        included_NC: which classes are in each set.
        coverage: how often a set is promised to hold the true class.
        method: `lac` or `raps`.
        per_class: whether the promise is for the images of every class.
        calibration_images: how many images the promise rests on.
    """

    included_NC: NDArray[np.bool_]
    coverage: float
    method: str
    per_class: bool
    calibration_images: int


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence[Prediction]):
    """The predictions of a bundle for N images, with their labels where these are known.

    A sequence of `Prediction`; a slice is Predictions. Images that could not be used are in
    `refused` and have no row.

    Attributes:
        classes: C class names, in the order of the columns.
        ids: N paths, relative ones of the images of an index.
        sha256: N hashes of the image files, hexadecimal; of pixels where there was no file.
        targets_N: int64 class numbers; -1 where the truth is not known.
        weights_N: float64, at least 0; 1 where images carry no weight.
        groups: N group names (specimen, patient, …); empty strings where there are none.
        folds_N: int64 fold numbers; -1 where there are no folds.
        logits_NC: float32, before the temperature.
        probabilities_NC: float64, after the temperature; rows sum to 1.
        unknown_N: whether each is of no known class; None where the bundle does not say.
        prediction_sets: None where no coverage was asked for.
        refused: the images that could not be used; a selection of rows has none.
        warnings: id of an image -> what of it is not used, such as further pages.
        notes: caveats, in sentences.
        bundle_sha256: the identity of the bundle; "" where it is not known.
        request_ids: N ids of the requests that a server answered; empty where none did.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    sha256: tuple[str, ...]
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float64]
    groups: tuple[str, ...]
    folds_N: NDArray[np.int64]
    logits_NC: NDArray[np.float32]
    probabilities_NC: NDArray[np.float64]
    unknown_N: NDArray[np.bool_] | None = None
    prediction_sets: PredictionSets | None = None
    refused: tuple[ImageError, ...] = ()
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bundle_sha256: str = ""
    request_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        N, C = len(self.ids), len(self.classes)
        expected: dict[str, tuple[int, ...]] = {"logits_NC": (N, C), "probabilities_NC": (N, C)}
        expected |= dict.fromkeys(("targets_N", "weights_N", "folds_N"), (N,))
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise DatasetError(
                    f"predictions: {name} has shape {getattr(self, name).shape}, expected {shape}"
                )
        if len(self.groups) != N or len(self.sha256) != N:
            raise DatasetError(f"predictions: groups and sha256 must have {N} entries each")
        if self.request_ids and len(self.request_ids) != N:
            raise DatasetError(f"predictions: request_ids must have {N} entries, or none")
        if N and not np.isfinite(self.logits_NC).all():
            raise DatasetError("predictions: logits hold numbers that are not finite")
        if N and not np.abs(self.probabilities_NC.sum(axis=1) - 1).max() <= 1e-6:  # nan too
            raise DatasetError("predictions: probabilities must sum to 1; were logits given?")
        if N and (self.targets_N.min() < UNLABELLED or self.targets_N.max() >= C):
            raise DatasetError(f"predictions: targets must lie between -1 and {C - 1}")
        if N and not (np.isfinite(self.weights_N).all() and self.weights_N.min() >= 0):
            raise DatasetError("predictions: weights must be finite and at least 0")

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, row: int) -> Prediction: ...

    @overload
    def __getitem__(self, row: slice) -> "Predictions": ...

    def __getitem__(self, row: int | slice) -> "Prediction | Predictions":
        if isinstance(row, slice):
            return self.select(np.arange(len(self))[row])
        row = row_number(row, len(self), "prediction")
        predicted, target = int(self.predicted_N[row]), int(self.targets_N[row])
        probabilities = [float(value) for value in self.probabilities_NC[row]]
        return Prediction(
            file=self.ids[row],
            label=self.classes[predicted],
            probability=probabilities[predicted],
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            unknown=None if self.unknown_N is None else bool(self.unknown_N[row]),
            set=None if self.prediction_sets is None else frozenset(self._set(row)),
            target=None if target == UNLABELLED else self.classes[target],
            request_id=self.request_ids[row] if self.request_ids else "",
        )

    def _set(self, row: int) -> list[str]:
        """The classes of a prediction set, in the classifier's order."""
        assert self.prediction_sets is not None
        return [self.classes[c] for c in self.prediction_sets.included_NC[row].nonzero()[0]]

    @property
    def labels(self) -> NDArray[np.str_]:
        """The class name (N,) with the highest probability; the first one on a tie."""
        return np.array(self.classes)[self.predicted_N]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C), after the temperature; rows sum to 1."""
        return self.probabilities_NC

    @property
    def unknown(self) -> NDArray[np.bool_] | None:
        """Whether each image (N,) is of no known class; None where the classifier does not say."""
        return self.unknown_N

    @property
    def sets(self) -> list[frozenset[str]] | None:
        """The N prediction sets; None where no coverage was asked for."""
        if self.prediction_sets is None:
            return None
        return [frozenset(self._set(row)) for row in range(len(self))]

    @property
    def targets(self) -> NDArray[np.int64] | None:
        """The true class numbers (N,), -1 where one is not known; None where none is known."""
        return None if (self.targets_N == UNLABELLED).all() else self.targets_N

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        """The class number with the highest probability; the first one on a tie."""
        return np.asarray(self.probabilities_NC.argmax(axis=1), np.int64)

    @property
    def is_weighted(self) -> bool:
        """Whether images that count carry different weights; those with weight 0 are left out."""
        return len(np.unique(self.weights_N[self.weights_N > 0])) > 1

    @property
    def has_groups(self) -> bool:
        return any(self.groups)

    def select(self, rows: NDArray[Any]) -> "Predictions":
        """The rows of a boolean mask or of an array of positions, in that order."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        ids, sets = tuple(self.ids[i] for i in positions), self.prediction_sets
        return replace(
            self,
            ids=ids,
            sha256=tuple(self.sha256[i] for i in positions),
            groups=tuple(self.groups[i] for i in positions),
            targets_N=self.targets_N[positions],
            weights_N=self.weights_N[positions],
            folds_N=self.folds_N[positions],
            logits_NC=self.logits_NC[positions],
            probabilities_NC=self.probabilities_NC[positions],
            unknown_N=None if self.unknown_N is None else self.unknown_N[positions],
            prediction_sets=sets and replace(sets, included_NC=sets.included_NC[positions]),
            refused=(),
            warnings={name: self.warnings[name] for name in ids if name in self.warnings},
            request_ids=tuple(self.request_ids[i] for i in positions if self.request_ids),
        )

    def labelled(self) -> "Predictions":
        """Only the images whose class is known."""
        return self.select(self.targets_N != UNLABELLED)

    def scorable(self) -> "Predictions":
        """Only the images that count: those with a known class and a weight above 0."""
        return self.select((self.targets_N != UNLABELLED) & (self.weights_N > 0))

    def digest(self) -> str:
        """SHA-256 of what a decision is fitted on: images, targets, weights and logits."""
        h = hashlib.sha256(json.dumps([self.classes, self.ids, self.sha256]).encode())
        for array in (self.targets_N, self.weights_N, self.logits_NC):
            h.update(np.ascontiguousarray(array).tobytes())
        return h.hexdigest()

    @property
    def _title(self) -> str:
        words = [f"Predictions of {pluralize(len(self), 'image')}"]
        if self.refused:
            words.append(f"{len(self.refused)} refused")
        if self.unknown_N is not None:
            words.append(f"{int(self.unknown_N.sum())} unknown")
        counts = Counter(self.labels.tolist()).most_common()
        return ", ".join([*words, *(f"{name} {count}" for name, count in counts)])

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows for a terminal; columns for what was not decided are left out."""
        header, columns = ["file", "class", "probability"], self._columns()
        rows = [
            [file, label, f"{probability:.3f}"]
            for file, label, probability in zip(*(columns[name] for name in header), strict=True)
        ]
        if self.unknown_N is not None:
            header.append("known")
            for is_unknown, row in zip(self.unknown_N, rows, strict=True):
                row.append("unknown" if is_unknown else "yes")
        if self.prediction_sets is not None:
            header.append("set")
            for names, row in zip(columns["set"], rows, strict=True):
                row.append(", ".join(names))
        return header, rows

    def __repr__(self) -> str:
        refused = [f"refused: {one}" for one in self.refused[:SHOWN_REFUSED]]
        table = text_table(*self.table(), max_rows=TEXT_ROWS - len(refused))
        return short_text(self._title, *refused, table)

    def _repr_html_(self) -> str:
        columns = self._columns()
        names = list(columns)[: 5 + SHOWN_CLASSES]
        if "target" in columns and "target" not in names:
            names.append("target")
        rows = list(zip(*(columns[name] for name in names), strict=True))
        notes = (*self.notes, *map(str, self.refused[:SHOWN_REFUSED]))
        return html_result(self._title, html_table(names, rows), notes=notes)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas DataFrame: file, class, probability, unknown, set, `p:CLASS` for every class,
        the target where any is known, and `request_id` where a server answered.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return data_frame(self._columns())

    def _columns(self) -> dict[str, list[Any]]:
        N, none = len(self), [None] * len(self)
        columns: dict[str, list[Any]] = {
            "file": list(self.ids),
            "class": self.labels.tolist(),
            "probability": self.probabilities_NC.max(axis=1, initial=0).tolist(),
            "unknown": none if self.unknown_N is None else self.unknown_N.tolist(),
            "set": none if self.prediction_sets is None else [self._set(row) for row in range(N)],
        }
        for name, probability_N in zip(self.classes, self.probabilities_NC.T, strict=True):
            columns[f"p:{name}"] = probability_N.tolist()
        if self.targets is not None:
            columns["target"] = [None if t == UNLABELLED else self.classes[t] for t in self.targets]
        if self.request_ids:
            columns["request_id"] = list(self.request_ids)
        return columns

    def to_json(self) -> dict[str, Any]:
        """The answer as docs/predict.schema.json describes it."""
        sets = self.prediction_sets
        return {
            "bundle": self.bundle_sha256,
            "classes": list(self.classes),
            "sets": None if sets is None else {
                "coverage": sets.coverage,
                "method": sets.method,
                "per_class": sets.per_class,
                "calibration_images": sets.calibration_images,
            },
            "predictions": [
                {
                    "file": one.file,
                    "class": one.label,
                    "probability": one.probability,
                    "probabilities": one.probabilities,
                    "unknown": one.unknown,
                    "set": None if one.set is None else self._set(row),
                }
                for row, one in enumerate(self)
            ],
            "refused": [
                {"file": r.file, "problem": r.problem, "reason": r.reason, "advice": r.advice}
                for r in self.refused
            ],
            "warnings": warnings_as_json(self.warnings),
        }  # fmt: skip

    def to_csv(self) -> str:
        """The columns of `to_frame`; a set is a JSON list, since a class may be called anything."""
        columns = self._columns()
        columns["set"] = [
            names and json.dumps(names, ensure_ascii=False) for names in columns["set"]
        ]
        return csv_text(columns)

    def write_answers(self, path: Path) -> None:
        """Write `to_csv` where the path ends in .csv, else `to_json`."""
        is_csv = path.suffix.lower() == ".csv"
        text = self.to_csv() if is_csv else json.dumps(self.to_json(), indent=2, ensure_ascii=False)
        write_bytes(path, text.encode("utf-8", "backslashreplace"))  # names may be no text

    def write(self, path: Path) -> None:
        """Write as Parquet: scalars as columns, logits and probabilities as lists."""
        import pyarrow as pa

        table = pa.table(
            {
                "id": list(self.ids),
                "sha256": list(self.sha256),
                "target": self.targets_N,
                "weight": self.weights_N,
                "group": list(self.groups),
                "fold": self.folds_N,
                "logits": list(self.logits_NC),
                "probabilities": list(self.probabilities_NC),
            }
        )
        write_parquet(path, table, {"classes": json.dumps(self.classes, ensure_ascii=False)})


def softmax(logits_NC: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities in double precision, after division by the temperature."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    exponentials_NC = np.exp(scaled_NC - scaled_NC.max(axis=1, keepdims=True))
    total_N1 = exponentials_NC.sum(axis=1, keepdims=True)
    return np.asarray(exponentials_NC / total_N1, dtype=np.float64)


_COLUMNS: dict[str, Kind] = {
    "id": "text",
    "sha256": "text",
    "target": "integer",
    "weight": "number",
    "group": "text",
    "fold": "integer",
    "logits": "numbers",
    "probabilities": "numbers",
}


def read_predictions(path: Path) -> Predictions:
    """Read what `Predictions.write` wrote.

    Raises:
        InvalidTable: it is damaged, or holds no predictions.
    """
    columns, metadata = read_parquet(path, _COLUMNS, "predictions")
    classes = parse_names(metadata.get("classes"), path)
    try:
        return Predictions(
            classes=classes,
            ids=tuple(columns["id"]),
            sha256=tuple(columns["sha256"]),
            targets_N=columns["target"],
            weights_N=columns["weight"],
            groups=tuple(columns["group"]),
            folds_N=columns["fold"],
            logits_NC=columns["logits"].astype(np.float32).reshape(-1, len(classes)),
            probabilities_NC=columns["probabilities"].reshape(-1, len(classes)),
        )
    except (DatasetError, ValueError) as error:
        raise InvalidTable(f"{str(path)!r} holds no predictions: {error}.") from None
