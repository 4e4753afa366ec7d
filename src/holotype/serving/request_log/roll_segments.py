"""Complete segments of JSON lines become Parquet, and what is too old or too much is removed.

A process of its own, so that neither its memory nor its death reaches the server:

    python -m holotype.serving.request_log.roll_segments FOLDER DAYS BYTES IMAGE_DAYS IMAGE_BYTES
"""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.files import TEMPORARY_PREFIX, atomic_write, leftovers_below, remove_path
from holotype.serving.request_log.feedback_store import FEEDBACK, FEEDBACK_COLUMNS
from holotype.serving.request_log.log_row import LOG_COLUMNS
from holotype.serving.request_log.segment_file import COMPLETE, OPEN, ROLLED, opened_at, segments

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MAX_LINE = 16 << 20  # bytes


def open_database(memory: str = "512MB") -> "DuckDBPyConnection":
    """A DuckDB of one thread that holds nothing and reads no extensions."""
    import duckdb

    return duckdb.connect(
        ":memory:",
        config={
            "threads": 1, "memory_limit": memory,
            "autoinstall_known_extensions": False, "autoload_known_extensions": False,
        },
    )  # fmt: skip


def file_list(paths: Iterable[Path]) -> str:
    """Files as a list in SQL."""
    return f"[{', '.join(quoted(path) for path in paths)}]"


def quoted(path: Path) -> str:
    """A file as a string in SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def json_lines(paths: Iterable[Path], columns: Mapping[str, str]) -> str:
    """SQL that reads files of JSON lines; torn lines are left out."""
    kinds = ", ".join(
        f"'{name}': '{'VARCHAR' if kind == 'BLOB' else kind}'" for name, kind in columns.items()
    )
    selected = ", ".join(
        f"from_base64({name}) AS {name}" if kind == "BLOB" else name
        for name, kind in columns.items()
    )
    return (
        f"SELECT {selected} FROM read_json({file_list(paths)}, columns = {{{kinds}}}, "
        f"format = 'newline_delimited', ignore_errors = true, maximum_object_size = {_MAX_LINE}) "
        "WHERE request_id IS NOT NULL AND time IS NOT NULL"
    )


def roll(folder: Path, columns: Mapping[str, str]) -> None:
    """Turn every complete segment into Parquet; one that cannot be read stays as it is.

    Raises:
        duckdb.Error: of the first that cannot be read, after all others.
    """
    import duckdb

    failed: duckdb.Error | None = None
    for path in sorted(folder.glob(f"*Z-*{COMPLETE}")):
        target = path.with_suffix(ROLLED)
        try:
            if not target.exists():
                with atomic_write(target) as temporary, open_database() as database:
                    database.execute(
                        f"COPY ({json_lines([path], columns)} ORDER BY time) "
                        f"TO {quoted(temporary)} "
                        "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"  # the held file
                    )
            path.unlink()
        except duckdb.Error as error:
            failed = failed or error
    if failed is not None:
        raise failed


def remove_old(paths: Iterable[tuple[Path, float]], max_days: float, max_bytes: int) -> None:
    """Remove the files that are older than `max_days`, and the oldest beyond `max_bytes`.

    Args:
        paths: files and their times in seconds since 1970; those that must stay are left out.
    """
    total = 0
    oldest_s = time.time() - max_days * 86_400
    for path, time_s in sorted(paths, key=lambda pair: -pair[1]):
        with suppress(FileNotFoundError):  # another process was quicker
            total += path.stat().st_size
            if time_s < oldest_s or total > max_bytes:
                path.unlink()


def remove_old_segments(folder: Path, max_days: float, max_bytes: int) -> None:
    complete = [path for path in segments(folder) if path.suffix != OPEN]
    remove_old(((path, opened_at(path)) for path in complete), max_days, max_bytes)


def remove_old_images(folder: Path, max_days: float, max_bytes: int) -> None:
    images = [path for path in folder.glob("*/*") if not path.name.startswith(TEMPORARY_PREFIX)]
    remove_old(((path, path.stat().st_mtime) for path in images), max_days, max_bytes)
    for day in folder.glob("*/"):
        with suppress(OSError):  # it is not empty, or was just removed
            day.rmdir()


def main(words: list[str]) -> None:
    folder, days, size, image_days, image_bytes = words
    log = Path(folder)
    for path in leftovers_below(log):
        remove_path(path)
    remove_old_segments(log, float(days), int(size))
    remove_old_segments(log / FEEDBACK, float(days), int(size))
    remove_old_images(log / "images", float(image_days), int(image_bytes))
    try:
        roll(log, LOG_COLUMNS)
    finally:  # a damaged segment of the log keeps no feedback from Parquet
        roll(log / FEEDBACK, FEEDBACK_COLUMNS)


if __name__ == "__main__":
    if hasattr(os, "nice"):  # of this process, not of one that imports it
        os.nice(10)
    main(sys.argv[1:])
