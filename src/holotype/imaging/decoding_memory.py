"""One limit on the memory of all images decoded at the same time, in all threads and processes.

A file of 3 kB may hold 89 million pixels, and decoding takes up to 20 bytes for each. A large image
waits until those before it are no longer used. What memory cannot hold costs itself only. Of
several processes that decode for one training each has its part of the limit, and of the images
that are larger than a part one is decoded at a time.
"""

import ctypes
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holotype.errors import TooManyPixels

if sys.platform != "win32":
    import fcntl

BYTES_PER_PIXEL = 20  # at the peak, measured: WebP with alpha 20, PNG 12, JPEG 8
_LIMIT_BYTES = 2 * 2**30  # an image of 89 million pixels, or seven of 16 million
_UNCOUNTED_BYTES = 2**24  # an image of less than 0.8 million pixels never waits
_TRIMMED_BYTES = 2**28  # an image of 13 million pixels
_PATIENCE_S = 300.0  # after which an image is decoded although others are still held


class DecodingMemory:
    """Grants memory to threads; each holds at most one grant, that of its last large image.

    A thread that asks again gives back what it holds, so that no thread waits for itself; a wait
    for another one ends after five minutes, as that may hold an image for as long as it likes.
    """

    def __init__(self, limit_bytes: int = _LIMIT_BYTES, patience_s: float = _PATIENCE_S) -> None:
        self.used_bytes = 0
        self._limit_bytes = limit_bytes
        self._patience_s = patience_s
        self._lock_file: int | None = None  # of several processes
        # Reentrant, since the garbage collector may release an image within `reserve`.
        self._condition = threading.Condition(threading.RLock())
        self._of_thread = threading.local()

    def reserve(self, pixels: int) -> Callable[[], None]:
        """Wait until the pixels fit, or nothing else is held; returns what gives them back."""
        size = pixels * BYTES_PER_PIXEL
        if size < _UNCOUNTED_BYTES:
            return _nothing
        getattr(self._of_thread, "release", _nothing)()
        unlock = self._lock_processes(size)
        with self._condition:
            self._condition.wait_for(
                lambda: not self.used_bytes or self.used_bytes + size <= self._limit_bytes,
                timeout=self._patience_s,
            )
            self.used_bytes += size
        if size >= _TRIMMED_BYTES:
            _return_freed_memory()
        is_held = [True]

        def release() -> None:
            with self._condition:
                if is_held:
                    is_held.clear()
                    self.used_bytes -= size
                    unlock()
                    self._condition.notify_all()

        self._of_thread.release = release
        return release

    def share(self, lock_file: int, processes: int) -> None:
        """Have one part of the limit of so many processes.

        Args:
            lock_file: one that all of them have open, see `new_lock_file`.
        """
        self._lock_file = lock_file
        self._limit_bytes //= processes

    def _lock_processes(self, size: int) -> Callable[[], None]:
        """Wait until no other process decodes what is larger than its part; how to unlock."""
        lock_file = self._lock_file
        if lock_file is None or size <= self._limit_bytes:
            return _nothing
        fcntl.lockf(lock_file, fcntl.LOCK_EX)  # held by the process, unlike that of `flock`
        return lambda: fcntl.lockf(lock_file, fcntl.LOCK_UN)


def new_lock_file() -> int | None:
    """A descriptor for `DecodingMemory.share` of processes that inherit it; None on Windows."""
    if sys.platform == "win32":
        return None
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


def _return_freed_memory() -> None:
    """Give what was freed back to the system: glibc keeps it, gigabytes for each thread."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)


def release_with(owner: object, release: Callable[[], None]) -> None:
    """Give memory back when an object is no longer used."""
    if release is not _nothing:
        weakref.finalize(owner, release).atexit = False


@contextmanager
def refused_where_memory_ends(file: str) -> Iterator[None]:
    """Refuse an image that memory cannot hold, while it is decoded or made smaller.

    Raises:
        TooManyPixels: instead of a MemoryError.
    """
    try:
        yield
    except MemoryError:  # a true size or a false one, there is not enough for it
        reason = "its pixels need more memory than there is"
        raise TooManyPixels(file, reason, "scale it down, or cut it into tiles") from None


def _nothing() -> None:
    pass


_MALLOC_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None

DECODING_MEMORY = DecodingMemory()
