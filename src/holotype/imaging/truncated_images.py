"""Load the pixels of a file that may be cut off: refuse it, or read it as far as it goes.

As far as it goes is what Pillow reads with `ImageFile.LOAD_TRUNCATED_IMAGES`. That flag holds for
all threads of a process, of which others may refuse the same file, so it is left alone here.

Arrays: H height, W width, C channels.
"""

from typing import BinaryIO

import numpy as np
from PIL import ImageFile, JpegImagePlugin

from holotype.errors import TruncatedImage
from holotype.imaging.pillow_headers import BROKEN_FILE_ERRORS, require_end
from holotype.imaging.png_text import is_about_text

CUT_OFF = "it is cut off or damaged; it was read as far as it goes, and what is missing is blank"
_END_OF_JPEG = b"\xff\xd9"


def load_pixels(
    plugin: ImageFile.ImageFile, stream: BinaryIO, file: str, *, tolerate_truncated: bool
) -> tuple[str, ...]:
    """Load the pixels of an open file; the warning `CUT_OFF` where some of them are missing.

    Args:
        plugin: opened and not loaded yet.
        stream: of its file.
        file: its name in errors.
        tolerate_truncated: accept a file that is cut off, or damaged within its pixels.

    Raises:
        TruncatedImage: its end is missing.
        OSError: and others of `BROKEN_FILE_ERRORS`: what Pillow says of broken pixels. With
            `tolerate_truncated`, only where not even the first pixels can be read.
    """
    first_block = plugin.tile[0].offset if plugin.tile else 0
    if not tolerate_truncated:
        plugin.load()
        require_end(plugin, stream, first_block, file)
        return ()
    ending = _JpegEnding(plugin) if isinstance(plugin, JpegImagePlugin.JpegImageFile) else None
    try:
        plugin.load()
        require_end(plugin, stream, first_block, file)
        if ending is None or not ending.was_added:
            return ()
        _require_pixels(plugin)
    except (TruncatedImage, *BROKEN_FILE_ERRORS) as error:
        if is_about_text(error) or plugin._im is None:
            raise
        plugin.tile = []  # which is how Pillow tells that an image is loaded
        _require_pixels(plugin)
    return (CUT_OFF,)


class _JpegEnding:
    """Gives libjpeg the end marker that a file lacks, so that it completes what it has begun."""

    def __init__(self, plugin: JpegImagePlugin.JpegImageFile) -> None:
        self.was_added = False
        self._read = plugin.load_read
        plugin.load_read = self.read  # type: ignore[method-assign]

    def read(self, read_bytes: int) -> bytes:
        content = self._read(read_bytes)
        if content or self.was_added:
            return content
        self.was_added = True
        return _END_OF_JPEG


def _require_pixels(plugin: ImageFile.ImageFile) -> None:
    """
    Raises:
        OSError: all pixels are equal, as they are before the first one is decoded.
    """
    pixels = np.asarray(plugin)  # (H, W) or (H, W, C)
    if (pixels == pixels[0, 0]).all():
        raise OSError("not one of its pixels is there")
