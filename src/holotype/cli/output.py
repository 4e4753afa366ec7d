"""How commands speak: results on standard output, all else on standard error."""

import json
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holotype.progress import terminal_columns, write_message
from holotype.text_tables import printable


def print_result(text: str) -> None:
    """A result, on standard output; flushed, so that what is said later comes after it."""
    print(printable(text), flush=True)


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """What and its value, a row for each; of a long value, further lines on a terminal."""
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        print_result(hanging(f"{what:{width}}  {value}", width + 2))


def hanging(text: str, indent: int) -> str:
    """The text, on a terminal broken between words with all lines but the first indented."""
    if not sys.stdout.isatty():
        return text
    return textwrap.fill(
        text, terminal_columns(sys.stdout), subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False, drop_whitespace=False,
    )  # fmt: skip


def print_message(text: str) -> None:
    """What is going on, on standard error."""
    write_message(sys.stderr, printable(text))


def print_next_command(*words: str | Path) -> None:
    """The next command to try, quoted so that it can be pasted."""
    write_message(sys.stderr, printable(f"Next: {shlex.join(map(str, words))}"), wrap=False)


def print_json(value: Any) -> None:
    """One JSON object on standard output; ASCII, so that it survives any terminal encoding."""
    print(json.dumps(value, indent=2, allow_nan=False), flush=True)


def print_found(found: Any, text: str | None = None, *, as_json: bool) -> None:
    """What a command found, on standard output: one JSON object, or a text, by default its own."""
    if as_json:
        print_json(found.to_json())
    else:
        print_result(str(found) if text is None else text)
