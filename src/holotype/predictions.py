"""The table that evaluation speaks: one row per image, made by a bundle alone.

Shape suffixes: N images, C classes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import DatasetError
from holotype.files import atomic_write

UNLABELLED = -1  # the target of an image whose class is not known


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a bundle says about N images, and what is true of them.

    Attributes:
        classes: C class names, in the order of the columns.
        ids: N relative paths.
        sha256: N hashes of the image files, hexadecimal.
        targets_N: int64 class numbers; -1 where the truth is not known.
        weights_N: float64, at least 0; 1 where images carry no weight.
        groups: N group names (specimen, patient, …); empty strings where there are none.
        folds_N: int64 fold numbers; -1 where there are no folds.
        logits_NC: float32, before the temperature.
        probabilities_NC: float64, after the temperature; rows sum to 1.
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

    def __post_init__(self) -> None:
        N, C = len(self.ids), len(self.classes)
        expected: dict[str, tuple[int, ...]] = {
            "targets_N": (N,),
            "weights_N": (N,),
            "folds_N": (N,),
            "logits_NC": (N, C),
            "probabilities_NC": (N, C),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise DatasetError(
                    f"predictions: {name} has shape {getattr(self, name).shape}, expected {shape}"
                )
        if len(self.groups) != N or len(self.sha256) != N:
            raise DatasetError(f"predictions: groups and sha256 must have {N} entries each")
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

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        """The class number with the highest probability; the first one on a tie."""
        return np.asarray(self.probabilities_NC.argmax(axis=1), np.int64)

    @property
    def is_weighted(self) -> bool:
        """Whether images carry different weights."""
        return len(self) > 0 and bool((self.weights_N != self.weights_N[0]).any())

    @property
    def has_groups(self) -> bool:
        return any(self.groups)

    def select(self, rows: NDArray[Any]) -> "Predictions":
        """The rows of a boolean mask or of an array of positions, in that order."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            ids=tuple(self.ids[i] for i in positions),
            sha256=tuple(self.sha256[i] for i in positions),
            groups=tuple(self.groups[i] for i in positions),
            targets_N=self.targets_N[positions],
            weights_N=self.weights_N[positions],
            folds_N=self.folds_N[positions],
            logits_NC=self.logits_NC[positions],
            probabilities_NC=self.probabilities_NC[positions],
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

    def write(self, path: Path) -> None:
        """Write as Parquet: scalars as columns, logits and probabilities as lists."""
        import pyarrow as pa
        import pyarrow.parquet as pq

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
        ).replace_schema_metadata({"classes": json.dumps(self.classes, ensure_ascii=False)})
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)


def softmax(logits_NC: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities in double precision, after division by the temperature."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    exponentials_NC = np.exp(scaled_NC - scaled_NC.max(axis=1, keepdims=True))
    total_N1 = exponentials_NC.sum(axis=1, keepdims=True)
    return np.asarray(exponentials_NC / total_N1, dtype=np.float64)


def read_predictions(path: Path) -> Predictions:
    """Read what `Predictions.write` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    if b"classes" not in metadata:
        raise DatasetError(f"{path} holds no predictions: expected Parquet that Holotype wrote")
    classes = tuple(json.loads(metadata[b"classes"]))

    def matrix(name: str) -> NDArray[Any]:
        flat = table[name].combine_chunks().flatten().to_numpy()
        return np.asarray(flat).reshape(len(table), len(classes))

    def strings(name: str) -> Sequence[str]:
        return [str(value) for value in table[name].to_pylist()]

    return Predictions(
        classes=classes,
        ids=tuple(strings("id")),
        sha256=tuple(strings("sha256")),
        targets_N=table["target"].to_numpy().astype(np.int64),
        weights_N=table["weight"].to_numpy().astype(np.float64),
        groups=tuple(strings("group")),
        folds_N=table["fold"].to_numpy().astype(np.int64),
        logits_NC=matrix("logits").astype(np.float32),
        probabilities_NC=matrix("probabilities").astype(np.float64),
    )
