"""Small versions of images, drawn when asked for and kept in a bounded amount of memory."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import Request

from holotype.dashboard_pages.classifiers import ask_for_files
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.serving.engine.job import ImageRefused, JobAnswer
from holotype.serving.http.problems import problem_of

SIDES_PX = (160, 640)  # of the gallery, and of one image
SMALLEST_SIDE_PX = 96  # smaller images are enlarged in whole steps
MAX_BYTES = 64 << 20
MAX_DRAWN = 16  # at once, of all pages: a gallery asks for 48, and others want the workers too
UNREADABLE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 120" width="160" height="120">'
    b'<rect width="160" height="120" fill="#eceff3"/><path d="M20 20 140 100M140 20 20 100" '
    b'stroke="#868f99" stroke-width="2"/></svg>'
)


class Thumbnails:
    """Encoded images by file, time and size; the least recently used are dropped.

    All of it is called from one event loop.
    """

    def __init__(self) -> None:
        self._num_bytes = 0
        self._kept: OrderedDict[tuple[str, int, int], tuple[bytes, str]] = OrderedDict()
        self._drawing = asyncio.Semaphore(MAX_DRAWN)

    async def get(
        self, file: Path, side: int, draw: Callable[[], Awaitable[tuple[bytes, str]]]
    ) -> tuple[bytes, str]:
        """The bytes of an image of at most so many pixels a side, and their type.

        What is not there is a crossed box.

        Args:
            draw: makes them, where they are not kept.
        """
        try:
            key = (str(file), (await asyncio.to_thread(file.stat)).st_mtime_ns, side)
        except (OSError, ValueError):
            return UNREADABLE, "image/svg+xml"
        if key not in self._kept:
            async with self._drawing:
                made = await draw()
            if key not in self._kept:
                self._kept[key] = made
                self._num_bytes += len(made[0])
        found = self._kept[key]
        self._kept.move_to_end(key)
        while self._num_bytes > MAX_BYTES:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._num_bytes -= len(dropped)
        return found


async def thumbnail_of(
    request: Request, file: Path, side: int, *, bits: int, tolerate_truncated: bool = False
) -> tuple[bytes, str]:
    """A small version of a file of this machine, drawn by a worker, and its type.

    No thread of a page waits for it. What cannot be read is a crossed box.

    Args:
        side: pixels of the longer side, at most.
        bits: significant in images of 16 bits.
        tolerate_truncated: show what there is of a file that is cut off.

    Raises:
        Problem: the workers do not answer.
    """
    options = {
        "longest": side, "shortest": SMALLEST_SIDE_PX, "bits": bits,
        "tolerate_truncated": tolerate_truncated,
    }  # fmt: skip

    async def draw() -> tuple[bytes, str]:
        (found,) = await ask_for_files(request, "thumbnail", "", [file], options)
        if isinstance(found, JobAnswer):
            return bytes(found.parts[0]), found.facts["media_type"]
        if isinstance(found, ImageRefused):
            return UNREADABLE, "image/svg+xml"
        raise problem_of(found)

    kept: Thumbnails = dashboard_of(request).kept.setdefault("thumbnails", Thumbnails())
    return await kept.get(file, side, draw)
