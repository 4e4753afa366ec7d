"""How commands speak: results on standard output, all else on standard error."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len  # how many columns a text takes: two for 漢, none for an accent


def print_result(text: str) -> None:
    """A result, on standard output."""
    print(printable(text))


def print_message(text: str) -> None:
    """What is going on, or what to do next, on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def print_next_command(*words: str | Path) -> None:
    """The next command to try, quoted so that it can be pasted."""
    print_message(f"Next: {shlex.join(map(str, words))}")


def print_json(value: Any) -> None:
    """One JSON object on standard output; ASCII, so that it survives any terminal encoding."""
    print(json.dumps(value, indent=2, allow_nan=False))


def printable(text: str) -> str:
    """The text without what could steer a terminal: a file name may hold any character."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns; a column of numbers to the right, any other to the left."""
    cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
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
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value)).replace("\n", "\\n")
