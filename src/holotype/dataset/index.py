"""The index of a data set: one row per image, read from folders and tables."""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.reading.filename_groups import (
    date_column,
    group_column,
    label_column,
    with_groups,
)
from holotype.dataset.reading.folders import list_folder
from holotype.dataset.reading.label_tables import list_table
from holotype.dataset.reading.merge_sources import merge_listings
from holotype.dataset.reading.sample_records import (
    IgnoredReason,
    ImageListing,
    Part,
    ignored_note,
)
from holotype.dataset.reading.source_types import DataSource, as_sources, describe_source
from holotype.errors import (
    DatasetError,
    EmptyDataset,
    ImageError,
    InvalidPattern,
    InvalidTable,
    SingleClass,
    UnreadableFile,
)
from holotype.files import sha256_of
from holotype.imaging.decode import read_header
from holotype.imaging.file_limits import require_plain_file
from holotype.parquet_files import Kind, Texts, parse_names, read_parquet, write_parquet
from holotype.progress import pluralize

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Index", "Part", "read_index", "read_index_file", "require_classes"]

COLUMNS = {
    "path": "str",  # relative to the root, with forward slashes
    "label": "str",
    "group": "str",  # "" if there is none
    "split": "str",  # "train", "val", "test", "cal", or "" before the split
    "fold": "int64",  # -1 without folds
    "weight": "float64",
    "sha256": "str",  # of the file; "" if it cannot be read
    "width": "int64",  # pixels, upright; 0 if the header cannot be read
    "height": "int64",
    "format": "str",  # Pillow's name; "" if the header cannot be read
}
TABLE_EXTENSIONS = frozenset([".csv", ".tsv", ".parquet"])


@dataclass(frozen=True, eq=False)
class Index:
    """A table of images, sorted by path.

    Attributes:
        root: the folder that paths are relative to.
        table: the columns of `COLUMNS`.
        classes: class names, sorted; some may have no image, as in a part of a split.
        ignored: files and folders (with a slash at the end) that are not used, and why.
        undecodable_names: images left out because their names are not valid UTF-8, with these
            bytes escaped.
        notes: what was read in another way than it is written, in sentences.
        dates: path -> day as ISO 8601 writes it; empty unless dates were asked for. They are not
            written: a split is made once.
    """

    root: Path
    table: "pd.DataFrame"
    classes: tuple[str, ...]
    ignored: Mapping[str, IgnoredReason] = field(default_factory=dict)
    undecodable_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dates: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def size_summary(self) -> str:
        """Such as ``120 images of 3 classes``."""
        classes = pluralize(len(self.classes), "class", "classes")
        return f"{pluralize(len(self), 'image')} of {classes}"

    def undecodable(self) -> list[UnreadableFile]:
        """Why each image with a name that is not valid UTF-8 is left out."""
        reason = "its name is not valid UTF-8"
        return [UnreadableFile(name, reason, "rename the file") for name in self.undecodable_names]

    def reading_notes(self) -> list[str]:
        """What was read in another way than it is written, and what is not used, in sentences."""
        by_reason: dict[IgnoredReason, list[str]] = {}
        for path, reason in self.ignored.items():
            by_reason.setdefault(reason, []).append(path)
        unused = [ignored_note(paths, reason) for reason, paths in by_reason.items()]
        return [*self.notes, *unused]

    @property
    def targets_N(self) -> NDArray[np.int64]:
        """The class of each image, as its position in `classes`."""
        number_of = {name: number for number, name in enumerate(self.classes)}
        return np.array([number_of[label] for label in self.table["label"]], np.int64)

    def to_frame(self) -> "pd.DataFrame":
        """A copy of the table."""
        return self.table.copy()

    def part(self, split: Part) -> "Index":
        """The images of one part of the split; the classes stay the same."""
        rows = self.table[self.table["split"] == split].reset_index(drop=True)
        return replace(self, table=rows)

    def without(self, paths: set[str]) -> "Index":
        """All images except these; the classes stay the same."""
        rows = self.table[~self.table["path"].isin(paths)].reset_index(drop=True)
        return replace(self, table=rows)

    def file(self, path: str) -> Path:
        """The file of an image."""
        return self.root / path

    def write(self, path: Path) -> None:
        """Write as Parquet; `read_index_file` reads it back."""
        import pyarrow as pa

        metadata = {
            "holotype_root": json.dumps(os.path.abspath(self.root)),
            "holotype_classes": json.dumps(self.classes),
        }
        write_parquet(path, pa.Table.from_pandas(self.table, preserve_index=False), metadata)


def read_index(
    data: "DataSource | Sequence[DataSource]",
    *,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    allow_class_mismatch: bool = False,
) -> Index:
    """Read all images of folders and tables, with their labels, hashes and sizes.

    Args:
        data: a folder of class folders; a folder of train, val and test folders with class
            folders in them; a flat folder, with `label_pattern`; or a CSV, TSV or Parquet
            table, or a DataFrame, with the columns path and label, and optionally group, split
            and weight. Or several of these: paths are then relative to the folder that all
            share, and equal labels are one class.
        label_pattern: a regular expression with a group `label`, searched in the file name,
            such as `(?P<label>[a-z]+)\\.\\d+`; or, for tables, `column:NAME`.
        group_pattern: a regular expression with a group `group` (or any group: the first),
            searched in the path relative to the source; or `parent-folder`; or, for tables,
            `column:NAME`. Images of one group stay in one part of a split. `column:NAME@DATE` names
            a column of dates too: a group on one day is an encounter, and the split is in time.
        label_prefix: put the name of the source before each label.
        allow_class_mismatch: accept split folders with different classes.

    Raises:
        EmptyDataset, SplitClassMismatch, InvalidTable, InvalidPattern, DatasetError.
    """
    sources = as_sources(data)
    listings = [
        _read_source(source, label_pattern, group_pattern, allow_class_mismatch)
        for source in sources
    ]
    if len(sources) == 1 and not label_prefix:
        return _build_index(listings[0])
    return _build_index(merge_listings(sources, listings, label_prefix=label_prefix))


def _read_source(
    data: "Path | pd.DataFrame",
    label_pattern: str | None,
    group_pattern: str | None,
    allow_class_mismatch: bool,
) -> ImageListing:
    """The listing of one source."""
    column, label = group_column(group_pattern), label_column(label_pattern)
    name = describe_source(data)
    if isinstance(data, Path) and data.is_dir():
        if column is not None:
            raise InvalidPattern(
                f"--group-pattern {group_pattern!r} names a column, but {name!r} is a folder; "
                "expected a table, or a regular expression, or parent-folder."
            )
        if label is not None:
            raise InvalidPattern(
                f"--label-pattern {label_pattern!r} names a column, but {name!r} is a folder; "
                "expected a table, or a regular expression."
            )
        listing = list_folder(
            data, label_pattern=label_pattern, allow_class_mismatch=allow_class_mismatch
        )
        return listing if group_pattern is None else with_groups(listing, group_pattern)
    if isinstance(data, Path) and not data.exists():
        raise DatasetError(
            f"{name!r} does not exist; expected a folder of images or a table; check the spelling."
        )
    if isinstance(data, Path) and data.suffix.lower() not in TABLE_EXTENSIONS:
        raise DatasetError(
            f"{name!r} is neither a folder nor a table; expected a folder of images or "
            f"a file ending in {', '.join(sorted(TABLE_EXTENSIONS))}. Unpack archives first: "
            "holotype fetch ARCHIVE --output FOLDER."
        )
    if label_pattern is not None and label is None:
        raise InvalidPattern(
            f"--label-pattern {label_pattern!r} was given, but {name!r} is a table, which has a "
            "column with the label; omit the pattern, say column:NAME, or name the folder instead."
        )
    listing = list_table(data, column or "group", date_column(group_pattern), label)
    if group_pattern is None or column is not None:
        return listing
    return with_groups(listing, group_pattern)


def read_index_file(path: str | Path) -> Index:
    """Read a file of `Index.write`; the images are not opened.

    Raises:
        InvalidTable: the file is not an index.
    """
    import pandas as pd

    root, classes, columns = read_index_columns(Path(path))
    plain = {name: list(v) if isinstance(v, Texts) else v for name, v in columns.items()}
    return Index(root=root, table=_with_dtypes(pd.DataFrame(plain)), classes=classes)


def read_index_columns(path: Path) -> tuple[Path, tuple[str, ...], dict[str, Any]]:
    """The folder of the images, the classes, and the columns as `Texts` and arrays (N,).

    For who needs no table, whose texts take as long to convert as to read.

    Raises:
        InvalidTable: the file is not an index.
    """
    kinds: dict[str, Kind] = {name: _KINDS[dtype] for name, dtype in COLUMNS.items()}
    columns, metadata = read_parquet(path, kinds, "an index")
    classes = parse_names(metadata.get("holotype_classes"), path)
    try:
        root = json.loads(metadata["holotype_root"])
    except (KeyError, ValueError, RecursionError):
        root = None
    wrong = [
        what
        for what, is_wrong in (
            ("no folder of the images", not isinstance(root, str)),
            ("labels that are no classes", not set(columns["label"].unique()) <= set(classes)),
            ("unknown parts", not set(columns["split"].unique()) <= {"", *get_args(Part)}),
            ("a path twice", len(columns["path"].unique()) < len(columns["path"])),
            ("weights out of range", not (columns["weight"] >= 0).all()),
            ("weights that are not finite", not np.isfinite(columns["weight"]).all()),
        )
        if is_wrong
    ]
    if wrong:
        raise InvalidTable(
            f"{str(path)!r} cannot be read as an index: it has {wrong[0]}. It is damaged, or not "
            "of Holotype; bring it back from a copy, or make it again."
        )
    return Path(root), classes, columns


_KINDS: dict[str, Kind] = {"str": "text", "int64": "integer", "float64": "number"}


def require_classes(index: Index) -> None:
    """Refuse an index with fewer than two classes, which cannot be trained on.

    Raises:
        SingleClass: it has.
        EmptyDataset: it has none, since no name of an image is valid UTF-8.
    """
    if len(index.classes) > 1:
        return
    if not index.classes and index.undecodable_names:
        raise EmptyDataset(
            f"no image in {str(index.root)!r} has a name that is valid UTF-8; the first is "
            f"'{index.undecodable_names[0]}'. Rename the files and folders, for example by convmv."
        )
    label = index.classes[0] if index.classes else ""
    inner = sorted({path.split("/")[1] for path in index.table["path"] if path.count("/") > 1})
    hint = f" Did you mean {str(index.root / label)!r}?" if len(inner) > 1 else ""
    if index.undecodable_names:
        hint += (
            f" Left out: {pluralize(len(index.undecodable_names), 'image')} with a name that is "
            f"not valid UTF-8, such as '{index.undecodable_names[0]}'; rename the files and "
            "folders, for example by convmv."
        )
    raise SingleClass(
        f"{str(index.root)!r} holds one class only, {label!r}; "
        f"expected at least two class folders with images in them.{hint}"
    )


def _build_index(listing: ImageListing) -> Index:
    import pandas as pd

    images = sorted(listing.images, key=lambda image: image.path)
    files = [listing.root / image.path for image in images]
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as threads:
        facts = list(threads.map(_read_file_facts, files))
    table = pd.DataFrame(
        [
            {**vars(image), "fold": -1, **of_file}
            for image, of_file in zip(images, facts, strict=True)
        ],
        columns=list(COLUMNS),
    )
    return Index(
        root=listing.root,
        table=_with_dtypes(table),
        classes=tuple(sorted({image.label for image in images})),
        ignored=dict(sorted(listing.ignored.items())),
        undecodable_names=tuple(sorted(listing.undecodable_names)),
        notes=listing.notes,
        dates={image.path: image.day for image in images if image.day},
    )


def _with_dtypes(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[list(COLUMNS)].astype(COLUMNS)


def _read_file_facts(file: Path) -> dict[str, str | int]:
    """The columns that are read from a file, without decoding its pixels."""
    facts: dict[str, str | int] = {"sha256": "", "width": 0, "height": 0, "format": ""}
    with suppress(OSError, ImageError):  # what is unreadable stays empty
        require_plain_file(file, str(file))
        facts["sha256"] = sha256_of(file)
        facts |= vars(read_header(file))
    return facts
