"""Read a CSV, Parquet or pandas table with the columns path and label into a listing."""

import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from holotype.dataset.class_names import blank_notes, class_name
from holotype.dataset.reading.column_names import column_notes, find_columns, known_names
from holotype.dataset.reading.csv_tables import read_csv_table
from holotype.dataset.reading.image_ids import with_extensions
from holotype.dataset.reading.sample_records import PART_ALIASES, ImageListing, ListedImage
from holotype.errors import EmptyDataset, InvalidTable

if TYPE_CHECKING:
    import pandas as pd

REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("group", "split", "weight")
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # of names on macOS and elsewhere
MAX_WEIGHT = 1e12  # sums of larger ones, and of the inverse of larger ones, lose digits


def list_table(
    table: "Path | pd.DataFrame",
    group_column: str,
    date_column: str | None,
    label_column: str | None = None,
) -> ImageListing:
    """The images of a table file or a DataFrame, which is not changed.

    Paths are absolute, or relative to the file or to the working directory. Missing image files are
    listed too, for the audit to report.

    Args:
        group_column: the column with the group (specimen, patient, …) of an image.
        date_column: the column with its date; an encounter, a group on one day, is then the group.
        label_column: the column with its label; None: `label`, or a well-known other name.

    Raises:
        InvalidTable: a column or value is missing or invalid.
        EmptyDataset: the table has no rows.
    """
    source = repr(str(table)) if isinstance(table, Path) else "the DataFrame"
    if not isinstance(table, Path):
        columns, base = _read_frame(table, source), Path.cwd()
    elif table.suffix.lower() == ".parquet":
        columns, base = _read_parquet(table)
    else:
        columns, base = _read_csv(table)
    asked = {"label": label_column, "group": group_column, "date": date_column}
    if group_column == "group":  # which a table need not have
        del asked["group"]
    named = {name: column for name, column in asked.items() if column is not None}
    wanted = [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if name not in named]
    found = find_columns(source, columns, wanted, taken=tuple(named.values()))
    missing = [column for column in named.values() if column not in columns]
    missing += [name for name in REQUIRED_COLUMNS if name not in found | named]
    if missing:
        raise InvalidTable(
            f"{source} has no column {missing[0]!r}; its columns are "
            f"{', '.join(map(repr, columns)) or 'none'}. Expected the path ({known_names('path')}) "
            f"and the label ({known_names('label')}), and optionally group, split and weight."
        )
    cells = {name: columns[column]() for name, column in (found | named).items()}
    count = len(cells["path"])
    if not count:
        raise EmptyDataset(f"{source} has no rows; expected one row per image.")
    rows = _TableReader(
        source, {name: cells.get(name) for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, "date")}
    )
    absolute_paths = with_extensions(
        source, [rows.absolute_path(row, base) for row in range(count)], base
    )
    root, paths = _relative_to_root(absolute_paths, base)
    _require_distinct(source, paths)
    images = [
        ListedImage(
            paths[row],
            label=rows.label(row),
            group=rows.group(row),
            split=rows.split(row),
            weight=rows.weight(row),
            day=rows.day(row),
        )
        for row in range(count)
    ]
    return ImageListing(root, images, notes=(*column_notes(found), *blank_notes(cells["label"])))


class _TableReader:
    """The cells of a table as checked values; error messages name the row."""

    def __init__(self, source: str, columns: dict[str, list[Any] | None]) -> None:
        self.source = source
        self.columns = columns
        self._whole = {
            name for name, cells in columns.items() if cells and _whole_beside_gaps(cells)
        }

    def refuse(self, row: int, what: str, expected: str) -> NoReturn:
        paths = self.columns["path"]
        named = f" ({str(paths[row])!r})" if paths and not _is_missing(paths[row]) else ""
        raise InvalidTable(f"{self.source}, row {row + 1}{named}: {what}; expected {expected}")

    def text(self, name: str, row: int) -> str:
        """A cell as text; "" if it is missing."""
        column = self.columns[name]
        cell = None if column is None else column[row]
        if _is_missing(cell):
            return ""
        return f"{cell:.0f}" if name in self._whole else str(cell).strip()

    def absolute_path(self, row: int, base: Path) -> str:
        column = self.columns["path"]
        cell = column[row] if column else None
        if _is_missing(cell):
            self.refuse(row, "no path", "a path, absolute or relative to the table")
        if "\0" in str(cell):
            self.refuse(row, "a path with a null character", "the path of a file")
        for name in (str(cell), *(unicodedata.normalize(form, str(cell)) for form in _FORMS)):
            path = os.path.join(os.path.abspath(base), name)
            if os.path.lexists(path):
                return os.path.normpath(path)
        if os.sep == "/" and "\\" in str(cell):
            self.refuse(
                row, "no such file, and backslashes in its path as Windows writes them",
                "forward slashes, and paths relative to the table",
            )  # fmt: skip
        return os.path.normpath(os.path.join(os.path.abspath(base), str(cell).strip()))

    def label(self, row: int) -> str:
        label = class_name(self.text("label", row))
        if not label:
            rows = range(len(self.columns["path"] or []))
            without = sum(not self.text("label", each) for each in rows)
            more = f", the first of {without:,} rows without one" if without > 1 else ""
            self.refuse(row, f"no label{more}", "the name of a class; remove images without one")
        return label

    def group(self, row: int) -> str:
        """The group; with dates the encounter: the group, or else the class, on one day."""
        group, day = class_name(self.text("group", row)), self.day(row)
        return f"{group or self.label(row)} {day}" if day else group

    def day(self, row: int) -> str:
        """The day of the image as ISO 8601 writes it; "" where no dates were asked for."""
        if self.columns["date"] is None:
            return ""
        text = self.text("date", row)
        try:
            return datetime.fromisoformat(text).date().isoformat()
        except ValueError:
            self.refuse(row, f"the date {text!r}", "a date such as 2024-05-17")

    def split(self, row: int) -> str:
        name = self.text("split", row)
        if name and name.lower() not in PART_ALIASES:
            self.refuse(
                row, f"unknown split {name!r}", "train, val, test or cal, or an empty column"
            )
        return PART_ALIASES[name.lower()] if name else ""

    def weight(self, row: int) -> float:
        if self.columns["weight"] is None:
            return 1.0
        text = self.text("weight", row).replace(",", ".")  # a decimal comma
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if weight != 0 and not 1 / MAX_WEIGHT <= weight <= MAX_WEIGHT:
            self.refuse(
                row, f"weight {text!r}",
                f"a finite number that is at least 0, and if not 0, from {1 / MAX_WEIGHT:g} to "
                f"{MAX_WEIGHT:g}",
            )  # fmt: skip
        return weight


def _whole_beside_gaps(cells: Sequence[Any]) -> bool:
    """Whether these are whole numbers that pandas made floats, since a cell is missing."""
    found = [cell for cell in cells if not _is_missing(cell)]
    is_gapped = 0 < len(found) < len(cells)
    return is_gapped and all(isinstance(cell, float) and cell.is_integer() for cell in found)


def _is_missing(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


_Columns = dict[str, Callable[[], list[Any]]]  # by name, what reads the cells, first row to last


def _read_frame(table: "pd.DataFrame", source: str) -> _Columns:
    return _by_stripped_name(
        source, ((name, partial(_cells_of_frame, cells)) for name, cells in table.items())
    )


def _cells_of_frame(column: "pd.Series[Any]") -> list[Any]:
    return column.astype(object).where(column.notna(), None).tolist()


def _read_csv(file: Path) -> tuple[_Columns, Path]:
    """All cells as text, since "NA" and "None" may be labels."""
    table = read_csv_table(
        file, expected="Expected text in UTF-8 with a header line such as path,label."
    )
    return {name: partial(table.column, name) for name in table.columns}, file.parent


def _read_parquet(file: Path) -> tuple[_Columns, Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():  # a pipe would never end
        raise InvalidTable(
            f"{str(file)!r} cannot be read as a table: it is a folder or a device; expected a file."
        )
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise InvalidTable(f"{str(file)!r} cannot be read as Parquet: {error}") from None
    columns = (
        (name, cells.to_pylist)
        for name, cells in zip(table.column_names, table.columns, strict=True)
    )
    root = (table.schema.metadata or {}).get(b"holotype_root")  # an index that Holotype wrote
    return _by_stripped_name(repr(str(file)), columns), Path(
        json.loads(root)
    ) if root else file.parent


def _by_stripped_name(
    source: str, columns: Iterable[tuple[Any, Callable[[], list[Any]]]]
) -> _Columns:
    stripped: _Columns = {}
    for name, cells in columns:
        if str(name).strip() in stripped:
            raise InvalidTable(
                f"{source} has two columns called {str(name).strip()!r}; leave one of them."
            )
        stripped[str(name).strip()] = cells
    return stripped


def _relative_to_root(absolute_paths: list[str], base: Path) -> tuple[Path, list[str]]:
    """The table's folder as the root, or if an image is outside it, the folder that all share."""
    root = os.path.abspath(base)
    if not all(path.startswith(root.rstrip("/") + "/") for path in absolute_paths):
        root = os.path.commonpath([os.path.dirname(path) for path in absolute_paths])
    return Path(root), [os.path.relpath(path, root).replace(os.sep, "/") for path in absolute_paths]


def _require_distinct(source: str, paths: list[str]) -> None:
    path, times = Counter(paths).most_common(1)[0]
    if times > 1:
        rows = [str(row + 1) for row, other in enumerate(paths) if other == path]
        raise InvalidTable(
            f"{source} names {path!r} {times} times (rows {', '.join(rows[:5])}); "
            "expected every image once. Keep the row with the right label."
        )
