"""The images of a run, a search or an audit: index, findings and predictions joined, one row each.

Shape suffixes: N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from holotype.dashboard_pages.addresses import directory_below
from holotype.dashboard_pages.file_cache import FileCache
from holotype.dataset.auditing.issue_reviews import ReviewedIssue, read_reviewed_issues
from holotype.dataset.auditing.issues_csv import JOINT
from holotype.dataset.index import Part, read_index_columns
from holotype.errors import UsageError
from holotype.files import read_json, reading
from holotype.imaging.significant_bits import FULL_BITS
from holotype.parquet_files import Texts
from holotype.predictions import UNLABELLED, read_predictions

PREDICTED_PARTS = ("test", "val", "oof")  # the first one that has an image counts
ALL_PARTS: tuple[Part, ...] = get_args(Part)  # in the order of a training
MAX_TABLES = 4  # in memory: 50,000 images take about 30 MB


@dataclass(frozen=True, eq=False)
class ImageTable:
    """One row per image, in the order of the index.

    Attributes:
        root: the folder that paths are relative to.
        paths, labels, parts, groups, sha256: N texts of the index.
        row_of: the row of each path.
        widths_N, heights_N: in pixels; 0 where the header cannot be read.
        classes: C names, those of the index.
        predicted_classes: what the predictions know, in their order.
        predicted_N: numbers in `predicted_classes`; -1 where an image was not predicted.
        target_N: the true class that the predictions know, likewise.
        confidence_N: the probability of the predicted class; nan where there is none.
        predicted_part_N: number in `PREDICTED_PARTS` of where the prediction is from; -1.
        bits: significant in images of 16 bits.
        tolerate_truncated: whether files that are cut off were read as far as they go.
    """

    root: Path
    paths: Sequence[str]
    labels: Texts
    parts: Texts
    groups: Texts
    sha256: Texts
    row_of: Mapping[str, int]
    widths_N: NDArray[np.int64]
    heights_N: NDArray[np.int64]
    classes: tuple[str, ...]
    predicted_classes: tuple[str, ...]
    predicted_N: NDArray[np.int32]
    target_N: NDArray[np.int32]
    confidence_N: NDArray[np.float64]
    predicted_part_N: NDArray[np.int8]
    bits: int
    tolerate_truncated: bool

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def label_N(self) -> NDArray[np.int32]:
        """The label of each image as its number in `classes`."""
        return self.labels.numbers_in(self.classes)

    @cached_property
    def part_N(self) -> NDArray[np.int32]:
        """The part of each image as its number in `ALL_PARTS`; -1 where it is in none."""
        return self.parts.numbers_in(ALL_PARTS)

    @property
    def known_parts(self) -> list[str]:
        """The parts that there are, in the order of a training."""
        return [ALL_PARTS[number] for number in np.unique(self.part_N) if number >= 0]

    @property
    def has_predictions(self) -> bool:
        return bool((self.predicted_N >= 0).any())

    def predicted(self, row: int) -> str:
        """The class that was predicted; "" where none was."""
        number = int(self.predicted_N[row])
        return "" if number < 0 else self.predicted_classes[number]

    def is_wrong(self, row: int) -> bool:
        """Whether the predicted class is not the true one."""
        return bool(
            self.predicted_N[row] >= 0
            and self.target_N[row] >= 0
            and self.predicted_N[row] != self.target_N[row]
        )

    def file(self, row: int) -> Path:
        """The file of an image.

        Raises:
            UsageError: the path in the index leads out of the folder of the images.
        """
        path = Path(self.paths[row])
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{str(path)!r} leads out of the folder of the images.")
        return self.root / path


def data_directory(folder: Path, of: str) -> Path:
    """The directory below a folder that has an index.

    Raises:
        UsageError: it lies elsewhere, or has none.
    """
    path = directory_below(folder, of)
    if path is None or not (path / "index.parquet").is_file():
        raise UsageError(
            f"{of!r} has no index of images; expected a run, a search or an audit below the folder "
            "that this server shows."
        )
    return path


def audit_directory(directory: Path) -> Path:
    """Where the audit of a run or a search lies; of an audit, the directory itself."""
    return directory / "audit" if (directory / "audit").is_dir() else directory


def image_table(cache: FileCache, directory: Path) -> ImageTable:
    """The table of a directory with an index, made again when one of its files changes.

    Raises:
        InvalidTable, CorruptFile: a file is damaged.
    """
    audit = audit_directory(directory)
    predictions = [directory / "predictions" / f"{part}.parquet" for part in PREDICTED_PARTS]
    files = [directory / "index.parquet", audit / "audit.json", *predictions]
    return cache.get(("images", directory), files, lambda: _read(directory, audit, predictions))


def reviewed_issues(cache: FileCache, directory: Path) -> list[ReviewedIssue]:
    """The rows of the issues.csv of a directory; none without one.

    Raises:
        InvalidTable: it is damaged.
    """
    file = audit_directory(directory) / "issues.csv"
    if not file.is_file():
        return []
    return cache.get(("issues", directory), [file], lambda: read_reviewed_issues(file))


def findings_by_kind(
    cache: FileCache, directory: Path, table: ImageTable
) -> Mapping[str, NDArray[np.int64]]:
    """Kind of finding -> rows of the table that have it, sorted.

    Raises:
        InvalidTable: the issues.csv is damaged.
    """
    issues = reviewed_issues(cache, directory)

    def collect() -> dict[str, NDArray[np.int64]]:
        rows: dict[str, list[int]] = {}
        for issue in issues:
            if issue.path in table.row_of:  # the index of a run lacks what it left out
                for kind in issue.problem.split(JOINT):
                    rows.setdefault(kind, []).append(table.row_of[issue.path])
        return {kind: np.unique(np.array(rows[kind], np.int64)) for kind in sorted(rows) if kind}

    files = [directory / "index.parquet", audit_directory(directory) / "issues.csv"]
    return cache.get(("findings", directory), files, collect)


def _read(directory: Path, audit: Path, predictions: Sequence[Path]) -> ImageTable:
    root, index_classes, columns = read_index_columns(directory / "index.parquet")
    paths = list(columns["path"])
    row_of = {path: row for row, path in enumerate(paths)}
    N = len(paths)
    predicted_N, target_N = np.full(N, -1, np.int32), np.full(N, -1, np.int32)
    part_N, confidence_N = np.full(N, -1, np.int8), np.full(N, np.nan)
    classes: tuple[str, ...] = ()
    for number, file in enumerate(predictions):
        if not file.is_file():
            continue
        found = read_predictions(file)
        if classes and found.classes != classes:
            continue  # of another classifier
        classes = found.classes
        rows = np.array([row_of.get(path, -1) for path in found.ids], np.int64)
        is_new = (rows >= 0) & (predicted_N[rows] < 0)
        rows = rows[is_new]
        predicted_N[rows] = found.predicted_N[is_new]
        target_N[rows] = np.where(
            found.targets_N[is_new] == UNLABELLED, -1, found.targets_N[is_new]
        )
        confidence_N[rows] = found.probabilities_NC.max(axis=1, initial=0)[is_new]
        part_N[rows] = number
    bits, tolerate_truncated = FULL_BITS, False
    if (audit / "audit.json").is_file():
        with reading(audit / "audit.json"):
            audited = read_json(audit / "audit.json")
            bits = int(audited.get("significant_bits", FULL_BITS))
            tolerate_truncated = bool(audited.get("tolerate_truncated", False))
    return ImageTable(
        root=root, paths=paths, labels=columns["label"], parts=columns["split"],
        groups=columns["group"], sha256=columns["sha256"], row_of=row_of,
        widths_N=columns["width"], heights_N=columns["height"],
        classes=index_classes, predicted_classes=classes, predicted_N=predicted_N,
        target_N=target_N, confidence_N=confidence_N, predicted_part_N=part_N, bits=bits,
        tolerate_truncated=tolerate_truncated,
    )  # fmt: skip


@dataclass(frozen=True)
class DuplicatePair:
    """Two near-duplicates; see `dataset.near_duplicates.search.NearDuplicate`."""

    first: str
    second: str
    kind: str
    evidence: str
    similarity: float
    labels: tuple[str, str]

    @property
    def is_conflict(self) -> bool:
        """Whether the two have different labels."""
        return self.labels[0] != self.labels[1]


def duplicate_pairs(cache: FileCache, directory: Path) -> list[DuplicatePair]:
    """The near-duplicates that the audit of a directory found, those of two labels first.

    Raises:
        CorruptFile: audit.json is damaged.
    """
    file = audit_directory(directory) / "audit.json"
    if not file.is_file():
        return []

    def read() -> list[DuplicatePair]:
        with reading(file):
            pairs = [
                DuplicatePair(
                    str(one["first"]), str(one["second"]), str(one["kind"]), str(one["evidence"]),
                    float(one["similarity"]), (str(one["labels"][0]), str(one["labels"][1])),
                )
                for one in read_json(file)["near_duplicates"]
            ]  # fmt: skip
        return sorted(pairs, key=lambda pair: (not pair.is_conflict, pair.first, pair.second))

    return cache.get(("duplicates", directory), [file], read)
