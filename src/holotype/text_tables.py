"""Text for a terminal: aligned tables, and the few lines by which a result names itself."""

import codecs
from collections.abc import Sequence

from rich.cells import cell_len  # how many columns a text takes: two for 漢, none for an accent

MAX_LINES = 12
MAX_COLUMNS = 120
CELL_COLUMNS = 41  # of one cell of a table in a `repr`
TEXT_ROWS = MAX_LINES - 4  # of a table below its title: without header, rule and "… more"

LOOK_ALIKES = "look_alikes"  # the error handler of streams that may lack our signs
_IN_ASCII = str.maketrans({"─": "-", "–": "-", "×": "x", "→": "->", "…": "...", "≥": ">="})


def printable(text: str) -> str:
    """The text without what could steer a terminal: a file name may hold any character."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def look_alikes(error: UnicodeError) -> tuple[str, int]:
    """What stands for signs that an encoding lacks: ASCII for those of tables, else escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_IN_ASCII)
    return signs.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(LOOK_ALIKES, look_alikes)


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, max_rows: int | None = None
) -> str:
    """Aligned columns; a column of numbers to the right, any other to the left.

    Args:
        max_rows: of more rows, only so many are shown, and the number of the rest; and of long
            texts the ends, so that the numbers beside them keep their place in a `repr`.
    """
    shown = rows[:max_rows]
    cells = [list(header)] + [[_cell(value) for value in row] for row in shown]
    if max_rows is not None:
        cells = [[_ends(cell) for cell in line] for line in cells]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numeric = [
        bool(shown) and all(isinstance(row[i], int | float) for row in shown)
        for i in range(len(header))
    ]
    lines = []
    for line in cells:
        padded = [
            " " * (width - cell_len(cell)) + cell
            if right
            else cell + " " * (width - cell_len(cell))
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    if len(shown) < len(rows):
        lines.append(f"… {len(rows) - len(shown):,} more")
    return "\n".join(lines)


def short_text(title: str, *paragraphs: str) -> str:
    """What `repr` of a result returns: at most 12 lines of at most 120 characters."""
    lines = [line for text in (title, *paragraphs) for line in printable(text).splitlines()]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"… {len(lines) - MAX_LINES + 1:,} more lines"]
    return "\n".join(
        line if len(line) <= MAX_COLUMNS else line[: MAX_COLUMNS - 1] + "…" for line in lines
    )


def _ends(text: str) -> str:
    """The text without its middle where it is longer than a cell of a `repr`."""
    if len(text) <= CELL_COLUMNS:
        return text
    half = (CELL_COLUMNS - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value)).replace("\n", "\\n")
