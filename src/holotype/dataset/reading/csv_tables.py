"""Read tables of text as spreadsheets save them: any separator, encoding and line end."""

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from holotype.dataset.reading.column_names import has_path_column
from holotype.errors import InvalidTable
from holotype.files import from_csv_cell
from holotype.progress import pluralize

_MAX_BYTES = 2**30  # ten million rows
_SEPARATORS = (",", ";", "\t")
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # of Excel and LibreOffice; of old Excel


@dataclass(frozen=True)
class CsvTable:
    """A table of text; every row has one cell for every column.

    Attributes:
        columns: distinct names, without blanks around them.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The cells of a column."""
        number = self.columns.index(name)
        return [row[number] for row in self.rows]


def read_csv_table(file: Path, *, expected: str) -> CsvTable:
    """Read a CSV file with commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252.

    Empty cells beyond the header, empty rows and cells missing at the end of a row are accepted.

    Args:
        expected: what the file should be, for messages.

    Raises:
        InvalidTable: it cannot be read, is no text, has two columns of one name, or a row has more
            cells than there are columns.
    """

    def refused(reason: str) -> InvalidTable:
        return InvalidTable(f"{str(file)!r} cannot be read as a table: {reason}. {expected}")

    try:
        if not file.is_file():  # a pipe would never end
            raise refused(
                "it is a folder or a device" if file.exists() else "there is no such file"
            )
        if file.stat().st_size > _MAX_BYTES:
            raise refused(f"it has more than {_MAX_BYTES:,} bytes")
        content = file.read_bytes()
        if content.startswith(_SPREADSHEETS):
            raise refused("it is a spreadsheet or an archive, not text; save it as CSV")
        text = _decoded(content)
        separator = _separator(text)
        cells = _cells(text, separator)
        if any(cell.startswith(' "') for row in cells for cell in row):
            spaced = _cells(text, separator, skip_blanks=True)  # else a path may begin with one
            if not any("\n" in cell for row in spaced for cell in row):
                cells = spaced
    except (OSError, UnicodeError, csv.Error) as error:
        raise refused(str(error)) from None
    if cells and cells[0][0].strip().lower().startswith("sep="):  # a line for Excel
        del cells[0]
    if not cells:
        raise refused("it is empty")
    columns = tuple(from_csv_cell(name.strip()) for name in _without_empty_end(cells[0]))
    for name in columns:
        if name and columns.count(name) > 1:
            raise InvalidTable(f"{str(file)!r} has two columns called {name!r}; leave one of them.")
    rows = []
    for number, row in enumerate(cells[1:], start=1):
        row = row[: len(columns)] + _without_empty_end(row[len(columns) :])
        if len(row) > len(columns):
            raise refused(
                f"row {number} ({row[0]!r}) has {pluralize(len(row), 'cell')}, and the header "
                f"{pluralize(len(columns), 'column')}; put quotes around a cell that holds "
                f"{separator!r}"
            )
        rows.append([from_csv_cell(cell) for cell in row] + [""] * (len(columns) - len(row)))
    return CsvTable(columns, rows)


def _cells(text: str, separator: str, *, skip_blanks: bool = False) -> list[list[str]]:
    """The rows that hold anything."""
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=skip_blanks
    )
    return [row for row in lines if any(cell.strip() for cell in row)]


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    for encoding, zeros in (("utf-16-le", content[1:24:2]), ("utf-16-be", content[0:24:2])):
        if len(zeros) > 1 and not any(zeros):
            return content.decode(encoding)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _separator(text: str) -> str:
    """The one that finds a column of paths in the header; else the one that finds most columns."""
    lines = text.lstrip().splitlines()
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) > 4:
        return lines[0][4]
    headers = {sep: next(csv.reader(lines[:1], delimiter=sep), []) for sep in _SEPARATORS}
    return max(
        _SEPARATORS,
        key=lambda sep: (has_path_column(headers[sep]), len(headers[sep])),
    )


def _without_empty_end(row: list[str]) -> list[str]:
    length = max((number for number, cell in enumerate(row, start=1) if cell.strip()), default=0)
    return row[:length]
