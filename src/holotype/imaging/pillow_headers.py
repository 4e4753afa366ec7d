"""What a plugin of Pillow tells of its file: orientation, raw mode, what is unused, its end."""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image as PillowImage
from PIL import ImageFile

from holotype.errors import TruncatedImage
from holotype.imaging.tiff_tags import unused_bands

ADVICE_COPY_AGAIN = "copy or export it again"

# What Pillow raises on broken or hostile files, collected from its plugins and by fuzzing. Little
# else runs where these are caught, so they tell of the file and not of our own code.
BROKEN_FILE_ERRORS = (
    OSError,  # truncated data, and errors of the C decoders
    SyntaxError,  # Pillow's own "this is not my format" and "broken header"
    ValueError,  # sizes and chunks out of range, text that is no Unicode
    TypeError,  # a field of the wrong type or of zero length
    AttributeError,  # a field that should have come earlier in the file
    AssertionError,  # inconsistent headers
    RuntimeError,  # rare variants that are not implemented, codecs in a wrong state
    LookupError,  # IndexError and KeyError: offsets and tags that are not there
    ArithmeticError,  # OverflowError and ZeroDivisionError: absurd sizes and rationals
    EOFError,  # no first frame
    struct.error,  # a field cut short
    zlib.error,  # compressed chunks of PNG
)
EXIF_TRANSPOSES = {  # EXIF orientation -> what makes the image upright
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}


SEVERAL_FRAMES = "the file holds several frames or pages; only the first is used"


def unused_contents(plugin: ImageFile.ImageFile) -> tuple[str, ...]:
    """What of the file is not used."""
    bands = unused_bands(plugin)
    try:
        several = bool(getattr(plugin, "is_animated", False))
    except BROKEN_FILE_ERRORS:  # a GIF that breaks behind its first frame, which is used
        plugin.seek(0)
        several = True
    if several:
        return (SEVERAL_FRAMES, *bands)
    return bands


def orientation_of(plugin: ImageFile.ImageFile) -> int:
    """EXIF (or XMP) orientation 1 to 8; 1 where it is broken, and for TIFF, which Pillow turns."""
    keys = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
    if plugin.format == "TIFF" or not any(key in plugin.info for key in keys):
        return 1
    try:
        # Not PngImageFile's own getexif, which would decode the pixels to look behind them.
        value = PillowImage.Image.getexif(plugin).get(0x0112, 1)
    except BROKEN_FILE_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def file_of(image: PillowImage.Image) -> Path | None:
    """The file that an image was opened from by its name, if it is there."""
    name = getattr(image, "filename", None)
    path = Path(os.fsdecode(name)) if name else None
    return path if path is not None and path.is_file() else None


def still_shows(path: Path, image: PillowImage.Image) -> bool:
    """Whether a file still holds what was opened from it, and perhaps changed since."""
    with suppress(*BROKEN_FILE_ERRORS), PillowImage.open(path) as again:
        kind = again.mode, again.size
        return kind == (image.mode, image.size) and again.tobytes() == image.tobytes()
    return False


def raw_mode_of(image: PillowImage.Image) -> str:
    """How the pixels lie in the file, such as ``L;4`` or ``RGB;16B``; "" where that is not known.

    A loaded image has forgotten it; its file is asked, if it is there.
    """
    if isinstance(image, ImageFile.ImageFile) and not image.tile and (path := file_of(image)):
        with suppress(*BROKEN_FILE_ERRORS), type(image)(path) as again:
            return raw_mode_of(again) if again.tile else ""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def require_end(plugin: ImageFile.ImageFile, stream: BinaryIO, first_block: int, file: str) -> None:
    """A PNG or GIF without its end marker is truncated, even where all pixels are there."""
    if plugin.format == "PNG" and not getattr(plugin, "is_animated", False):
        stream.seek(-8, os.SEEK_CUR)
        whole = stream.read(12) == b"\0\0\0\0IEND\xaeB`\x82"
    elif plugin.format == "GIF":
        stream.seek(first_block)
        while (length := stream.read(1)) and length[0]:
            stream.seek(length[0], os.SEEK_CUR)
        whole = bool(stream.read(1))
    else:
        whole = True
    if not whole:
        raise TruncatedImage(file, "it is cut off at its end", ADVICE_COPY_AGAIN)
