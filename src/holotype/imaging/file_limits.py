"""Refuse files that are no plain files, too large, or costly beyond their size."""

import os
import re
import stat
from pathlib import Path

from holotype.errors import FileTooLarge, TooManyPixels, UnreadableFile

_MAX_BYTES = 2**30  # the largest images that are read, uncompressed, have 0.7 GB
_MAX_SCANS = 100  # of a JPEG; progressive ones have about ten
_START_OF_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # none of these is within compressed data
_END_OF_IMAGE = 0xD9


def require_plain_file(path: Path, name: str) -> None:
    """Refuse what would never end, such as a pipe, or would not fit into memory.

    Raises:
        UnreadableFile: there is no such file, or it is a folder, a pipe or a device.
        FileTooLarge: more bytes than are read.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(name, f"it cannot be opened ({reason})", "check the path") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFile(name, "this is a folder or a device", "name a file in it")
    require_size(status.st_size, name)


def require_size(size: int, name: str) -> None:
    """Refuse a file of more bytes than are read.

    Raises:
        FileTooLarge: it has.
    """
    if size > _MAX_BYTES:
        raise FileTooLarge(
            name,
            f"its {size:,} bytes are more than the {_MAX_BYTES:,} that are read",
            "save it compressed, or cut it into tiles",
        )


def refuse_many_scans(content: bytes, name: str) -> None:
    """Refuse a JPEG with absurdly many scans, each of which is decoded over all its pixels.

    Raises:
        TooManyPixels: it has more than a hundred.
    """
    if content.count(_START_OF_SCAN) <= _MAX_SCANS:  # quick, and counts too many at most
        return
    scans, position = 0, 2
    while (marker := _MARKER.search(content, position)) and marker[0][1] != _END_OF_IMAGE:
        scans += marker[0] == _START_OF_SCAN
        if scans > _MAX_SCANS:
            reason = f"it has more than the {_MAX_SCANS} scans that are read"
            raise TooManyPixels(name, reason, "save it again")
        position = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
