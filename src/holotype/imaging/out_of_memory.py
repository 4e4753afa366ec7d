"""Confine a lack of memory to the image that it is for."""

from collections.abc import Iterator
from contextlib import contextmanager

from holotype.errors import TooManyPixels


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
