"""How commands speak: results on standard output, all else on standard error."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from holotype.text_tables import printable


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
