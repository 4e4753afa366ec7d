"""Files: written atomically (temporary, then renamed), hashed; the directory of the cache.

A temporary file or directory is held by an advisory lock (flock) as long as its process lives. What
a killed process left is found by its name and by its lock being free, and is removed the next time
that something is written beside it. Where there are no such locks, nothing is removed.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from holotype.errors import CorruptFile, UsageError

if sys.platform != "win32":
    import fcntl

MAX_JSON_BYTES = 1 << 28
TEMPORARY_PREFIX = ".tmp-holotype-"

_cleaned: set[Path] = set()  # directories that this process has removed leftovers from


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file in the same directory; rename it to `path` if the block succeeds.

    A reader of `path` sees the old content or the new, never a part of either.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _cleaned:
            _cleaned.add(path.parent)
            remove_leftovers(path.parent)
        with _temporary(path.parent, path.suffix, Path.touch) as temporary:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    """Yield a new directory in `parent`, which exists; removed unless the block has renamed it."""
    remove_leftovers(parent)
    with _temporary(parent, "", Path.mkdir) as temporary:
        yield temporary


@contextmanager
def naming(output: Path) -> Iterator[None]:
    """What cannot be written is named by the output, and not by what stands for it meanwhile."""
    try:
        yield
    except OSError as error:
        if error.filename is None or TEMPORARY_PREFIX in os.fsdecode(error.filename):
            error.filename, error.filename2 = str(output), None
        raise


def remove_leftovers(directory: Path) -> None:
    """Remove the temporary files and directories that killed processes left in a directory."""
    for path in directory.glob(f"{TEMPORARY_PREFIX}*"):
        held = _hold(path)
        if held is not None and held >= 0:
            with suppress(OSError):
                remove_path(path)
            os.close(held)


def is_leftover(path: Path) -> bool:
    """Whether a temporary file or directory is what a killed process left."""
    held = _hold(path)
    if held is None or held < 0:
        return False
    os.close(held)
    return True


def leftovers_below(directory: Path) -> list[Path]:
    """What killed processes left at any depth of a directory."""
    return sorted(path for path in directory.rglob(f"{TEMPORARY_PREFIX}*") if is_leftover(path))


def require_writable(path: Path) -> None:
    """Find out before the work whether its result could be written to `path`.

    Raises:
        OSError: it could not; the error names `path`.
    """
    folder = next(one for one in path.absolute().parents if os.path.lexists(one))
    with naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        with _temporary(folder, path.suffix, Path.touch):
            pass


@contextmanager
def _temporary(directory: Path, suffix: str, make: Any) -> Iterator[Path]:
    """A new file or directory, held as long as the block runs and then removed."""
    held = None
    while held is None:  # what took it for a leftover, before it was held, has removed it
        path = directory / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{suffix}"
        make(path)
        held = _hold(path)
    try:
        yield path
    finally:
        with suppress(OSError):
            remove_path(path)
        if held >= 0:
            os.close(held)


def _hold(path: Path) -> int | None:
    """Lock a temporary file or directory for this process.

    Returns:
        The descriptor that holds it; None where another process does, or where it is gone; -1 where
        there are no locks.
    """
    if sys.platform == "win32":
        return -1
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return -1
    if not path.exists():  # removed between the two calls
        os.close(descriptor)
        return None
    return descriptor


def discard(path: Path) -> None:
    """Remove a file or directory, at once for a reader: it is renamed first."""
    if os.path.lexists(path):
        with temporary_directory(path.parent) as trash:
            path.rename(trash / path.name)


def remove_path(path: Path) -> None:
    """Remove a file, a link or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8; bytes of a file's name that are not valid UTF-8 are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON.

    Raises:
        ValueError: a number is not finite.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that Holotype wrote.

    Raises:
        CorruptFile: it is missing, too large, not JSON, or no object.
    """
    with reading(path):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES >> 20} MiB")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"it holds {type(found).__name__}, expected an object")
        return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what goes wrong with the content of a file as one error that names it.

    Raises:
        CorruptFile: the block raised about a value, a type, a missing key or the file.
    """
    try:
        yield
    except OSError as error:
        raise CorruptFile(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as e:
        reason = f"{e} is missing" if isinstance(e, KeyError) else " ".join(str(e).split())[:200]
        raise CorruptFile(
            f"{str(path)!r} makes no sense: {reason.rstrip('.')}. It is damaged; bring it back "
            "from a copy, or make it again."
        ) from None


def csv_text(columns: Mapping[str, Sequence[object]]) -> str:
    """Columns of equal length as CSV with a header; None is an empty field. See `csv_cell`."""
    rows = zip(*columns.values(), strict=True)
    return csv_lines(map(csv_cell, row) for row in (columns, *rows))


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, each ended by a line feed.

    A carriage return within a cell is quoted, lest a reader takes it for the end of the row;
    Python's writer quotes it only where rows end in one, which is taken away again.
    """
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


# What a spreadsheet would take for a formula, and what stands for such a text in our files.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def csv_cell(value: object) -> object:
    """A value for a CSV file; a text that a spreadsheet would run gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def from_csv_cell(text: str) -> str:
    """The text for which `csv_cell` wrote this one."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_directory() -> Path:
    """`$HOLOTYPE_CACHE`, or `holotype` in the user's cache directory; it may not exist yet.

    Of a user without a home directory, as in a container, a directory of temporary files.

    Raises:
        UsageError: that one is of another user, who could write what is read from it.
    """
    named = os.environ.get("HOLOTYPE_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "holotype"
    home = os.path.expanduser("~")  # as it is where nobody knows the user
    if home == "~" or not os.access(home, os.X_OK):
        return _temporary_cache()
    return Path(home) / ".cache" / "holotype"


def _temporary_cache() -> Path:
    """Made here, since its name is known to all users of the machine."""
    if not hasattr(os, "getuid"):  # Windows, where each user has temporary files of their own
        return Path(tempfile.gettempdir()) / "holotype-user"
    place = Path(tempfile.gettempdir()) / f"holotype-{os.getuid()}"
    with suppress(OSError):  # it is there, or the disk is read-only, which whoever writes will tell
        place.mkdir(mode=0o700)
    with suppress(FileNotFoundError):
        found = place.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise UsageError(
                f"{place} is a link, or of another user; name a directory of your own by "
                "HOLOTYPE_CACHE."
            )
    return place
