"""Messages between the server and its workers: a JSON header and bytes, over a pipe.

A frame is the length of the header (4 bytes), the length of the body (8 bytes), the header and the
body. The body of an answer holds several parts; the header gives their lengths.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">IQ")

Header = dict[str, Any]

BACKGROUND = "--background"  # starts a worker that leaves the processor to the others


def frame(header: Header, parts: Sequence[bytes] = ()) -> list[bytes]:
    """A frame in pieces, so that an image is not copied to be sent."""
    if parts:
        header = {**header, "parts": [len(part) for part in parts]}
    head = json.dumps(header).encode()
    return [_LENGTHS.pack(len(head), sum(map(len, parts))) + head, *parts]


def split(header: Header, body: bytes) -> list[memoryview]:
    """The parts of a body, not copied."""
    view, parts, start = memoryview(body), [], 0
    for length in header.get("parts", ()):
        parts.append(view[start : start + length])
        start += length
    return parts


async def read_frame(stream: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame.

    Raises:
        asyncio.IncompleteReadError: the other side is gone.
    """
    head, body = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    header: Header = json.loads(await stream.readexactly(head))
    return header, await stream.readexactly(body) if body else b""


def read_frame_blocking(stream: BinaryIO) -> tuple[Header, bytes]:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
    """
    head, body = _LENGTHS.unpack(_read_exactly(stream, _LENGTHS.size))
    header: Header = json.loads(_read_exactly(stream, head))
    return header, _read_exactly(stream, body) if body else b""


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content
