"""Values that are made from files: kept in memory, and made again when a file changes."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
Signature = tuple[tuple[int, int, int] | None, ...]


def file_signature(files: Sequence[str | Path]) -> Signature:
    """What changes with a file: inode, size and time; None where it is missing."""
    return tuple(map(_signature_of, files))


def _signature_of(file: str | Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class FileCache:
    """The last few values by what they are of; several threads may ask.

    Args:
        max_values: so many are kept, those that were asked for last.
    """

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._values: OrderedDict[Hashable, tuple[Signature, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, files: Sequence[Path], make: Callable[[], Value]) -> Value:
        """The value of a key, made by `make` unless its files are as they were then."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # one thread makes it, the others wait for that
            signature = file_signature(files)
            with self._lock:
                known = self._values.get(key)
                if known is not None and known[0] == signature:
                    self._values.move_to_end(key)
                    found: Value = known[1]
                    return found
            value = make()
            with self._lock:
                self._values[key] = (signature, value)
                self._values.move_to_end(key)
                while len(self._values) > self._max_values:
                    dropped, _ = self._values.popitem(last=False)
                    self._making.pop(dropped, None)
            return value
