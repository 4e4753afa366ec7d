"""Directories that appear whole or not at all, and the tables written into them."""

import csv
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holotype.errors import UsageError

TABLE_FILENAME = "table.csv"


@contextmanager
def staged_directory(output: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary directory beside `output` that takes its place when the block ends well.

    Args:
        replace: take the place of a directory that is not empty; the old one is gone only
            when the new one stands.

    Raises:
        UsageError: the output holds something, and may not be replaced.
    """
    output = output.absolute()
    if not (replace and output.is_dir()):
        require_empty(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.parent / f".tmp-{uuid.uuid4().hex}"
    old = output.parent / f".tmp-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        if output.exists():
            output.replace(old)
        temporary.replace(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not output.exists():  # the second rename failed
            old.replace(output)
        shutil.rmtree(old, ignore_errors=True)


def require_empty(output: Path) -> None:
    """Refuse a place where something is already, before any work is done for it.

    Raises:
        UsageError: there is a file, or a directory that is not empty.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(
            f"{str(output)!r} already holds something; nothing is overwritten. "
            "Choose another --output, or empty it first."
        )


def require_outside(output: Path, *sources: Path) -> None:
    """Refuse an output within the data: it would be read as data the next time.

    Raises:
        UsageError: the output and a folder of the data lie within each other.
    """
    for source in sources:
        folder = source.resolve()
        if folder.is_dir() and (
            output.resolve().is_relative_to(folder) or folder.is_relative_to(output.resolve())
        ):
            raise UsageError(
                f"the output {str(output)!r} and the data {str(source)!r} lie within each other; "
                "choose an --output beside the data."
            )


def write_table(directory: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """`table.csv` in a directory that is not yet in its place."""
    table = directory / TABLE_FILENAME
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return table
