"""A folder of images to label: labels.csv, the images, and where they came from.

    to-label/
      labels.csv       one row per image; a person fills the column `label`
      images/          copies of the images, since a log removes its own
      labelling.json   which log and classifier, its classes, how many of what, and the seed

Labels come back in the file itself, from a spreadsheet or the dashboard, or as feedback for the
request: what the sheet says counts.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from holotype.dataset.class_names import blank_notes, class_name
from holotype.dataset.reading.column_names import column_notes, find_columns
from holotype.dataset.reading.csv_tables import CsvTable, read_csv_table
from holotype.dataset.reading.image_ids import with_extensions
from holotype.errors import InvalidTable, UsageError
from holotype.files import atomic_write, csv_text, read_json, sha256_of, write_json, write_text

Purpose = Literal["chosen", "random"]

LABELS, IMAGES, SELECTION = "labels.csv", "images", "labelling.json"
LOCK = ".labels.lock"
LOCK_SECONDS = 30.0
EXPECTED = (
    "Expected the labels.csv of `holotype watch label-next`, with the columns path and label."
)


@dataclass(frozen=True)
class SheetRow:
    """One image to label.

    Attributes:
        path: below the folder of the sheet, or absolute.
        label: the true class; "" until somebody says it.
        purpose: `chosen` images may train; `random` ones are a random sample of what was answered,
            kept apart so that they tell the accuracy honestly.
        group: of images that are not independent; "" of an image for itself.
        predicted, probability, unknown: what was answered: the class, its probability, and whether
            it is of no known class ("" where the classifier does not say).
        time: when, ISO 8601 in UTC.
        request_id, image: what feedback names it by.
        sha256: of the file.
    """

    path: str
    label: str = ""
    purpose: Purpose = "chosen"
    group: str = ""
    predicted: str = ""
    probability: str = ""
    unknown: str = ""
    time: str = ""
    request_id: str = ""
    image: str = ""
    sha256: str = ""


COLUMNS = tuple(field.name for field in fields(SheetRow))


def write_sheet(
    folder: Path, rows: Sequence[SheetRow], files: Sequence[Path], selection: dict[str, Any]
) -> None:
    """Copy the images, and write the table last.

    Args:
        files: of the images, in the order of the rows.
    """
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for row, file in zip(rows, files, strict=True):
        with atomic_write(folder / row.path) as temporary:
            shutil.copyfile(file, temporary)
    write_json(folder / SELECTION, selection)
    columns = {name: [asdict(row)[name] for row in rows] for name in COLUMNS}
    write_text(folder / LABELS, csv_text(columns))


def read_sheet(file: Path) -> list[SheetRow]:
    """The rows of a labels.csv, or of any table with a path and a label, by whatever name.

    Raises:
        InvalidTable: it lacks a column, or has an unknown purpose.
    """
    table = read_csv_table(file, expected=EXPECTED)
    found = _columns_of(file, table)
    columns = [table.column(column) for column in found.values()]
    rows = []
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        values: dict[str, Any] = {
            name: cell.strip() for name, cell in zip(found, cells, strict=True)
        }
        values["purpose"] = values.get("purpose") or "chosen"
        if values["purpose"] not in get_args(Purpose):
            raise InvalidTable(
                f"{str(file)!r}, row {number}: purpose {values['purpose']!r}; expected chosen or "
                "random."
            )
        rows.append(SheetRow(**values))
    return rows


def sheet_notes(file: Path) -> tuple[str, ...]:
    """What of a table was read in another way than it is written, in sentences.

    Raises:
        InvalidTable: it lacks a column.
    """
    table = read_csv_table(file, expected=EXPECTED)
    found = _columns_of(file, table)
    return (*column_notes(found), *blank_notes(table.column(found["label"])))


def _columns_of(file: Path, table: CsvTable) -> dict[str, str]:
    """What a sheet may say -> the column that does."""
    found = find_columns(repr(str(file)), table.columns, ("path", "label", "purpose", "group"))
    missing = [name for name in ("path", "label") if name not in found]
    if missing:
        raise InvalidTable(f"{str(file)!r} has no column {missing[0]!r}. {EXPECTED}")
    rest = (name for name in COLUMNS if name in table.columns and name not in found.values())
    return found | {name: name for name in rest if name not in found}


def sheet_files(file: Path, rows: Sequence[SheetRow]) -> list[Path]:
    """The images of the rows of a sheet.

    Raises:
        InvalidTable: a path has no extension, and is that of no file or of several.
    """
    folder = file.absolute().parent
    paths = [os.path.join(folder, row.path) for row in rows]
    return [Path(path) for path in with_extensions(repr(str(file)), paths, folder)]


def labels_of_sheets(sheets: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of an image -> the label that a sheet gives it.

    Args:
        sheets: folders with a labels.csv, or such files.

    Raises:
        InvalidTable: one is no such table.
    """
    found = {}
    for sheet in sheets:
        file = sheet / LABELS if sheet.is_dir() else sheet
        rows = [row for row in read_sheet(file) if row.label]
        for row, image in zip(rows, sheet_files(file, rows), strict=True):
            found[row.sha256 or sha256_of(image)] = row.label
    return found


def read_selection(folder: Path) -> dict[str, Any]:
    """How the images of a sheet were selected; nothing where it was written by hand."""
    file = folder / SELECTION
    return read_json(file) if file.is_file() else {}


def classes_of_sheet(folder: Path, rows: Sequence[SheetRow]) -> list[str]:
    """The classes to choose from: those of the classifier, and whatever a label says beside."""
    known = [str(each) for each in read_selection(folder).get("classes", ())]
    known = known or sorted({row.predicted for row in rows if row.predicted})
    return [*known, *sorted({row.label for row in rows if row.label} - set(known))]


def write_label(file: Path, path: str, label: str) -> None:
    """Keep the label of one image; nothing else that the table says changes.

    Args:
        file: a labels.csv.
        path: of the image, as in the table.
        label: "" takes it back.

    Raises:
        UsageError: there is no such image.
        InvalidTable: the table cannot be read, or another process holds it for long.
    """
    import filelock

    try:
        with filelock.FileLock(file.with_name(LOCK), timeout=LOCK_SECONDS):
            table = read_csv_table(file, expected=EXPECTED)
            columns = {name: table.column(name) for name in table.columns}
            found = _columns_of(file, table)
            paths = [each.strip() for each in columns[found["path"]]]
            if path not in paths:
                raise UsageError(f"{str(file)!r} has no image {path!r} any more; begin again.")
            columns[found["label"]][paths.index(path)] = class_name(label.strip())
            write_text(file, csv_text(columns))
    except filelock.Timeout:
        raise InvalidTable(
            f"{str(file)!r} is held by another process for {LOCK_SECONDS:g} s; end that process, "
            "and label again."
        ) from None
