"""Significant bits of images of 16 bits: cameras and microscopes store 10, 12 or 14 bits in 16.

Values of 12 bits divided by 257 leave 16 grey levels of 256. How many bits are significant is one
number for a whole data set, told by headers or by the largest value of all images: a single image
may just be dark.

Arrays: H height, W width, C channels.
"""

import io
import re
import struct
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFile, TiffImagePlugin

from holotype.errors import UnsupportedMode
from holotype.imaging.pillow_headers import BROKEN_FILE_ERRORS

FULL_BITS = 16
LEAST_BITS = 8
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _DESCRIPTION = 258, 281, 270
_OME_BITS = re.compile(r'SignificantBits="(\d{1,2})"')
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_DEEP_COLOUR = re.compile(r"(RGB[AX]?);16([BLN])")


def has_open_range(image: PillowImage.Image, raw_mode: str) -> bool:
    """Whether pixels lie in 16 bits of which fewer may be used.

    Not those of JPEG 2000, PPM and 12-bit TIFF, whose headers state the range that is scaled.
    """
    if image.format == "JPEG2000" or raw_mode == "I;12":
        return False
    if image.format == "PPM":
        return raw_mode == "I;16B"
    return image.mode.startswith("I;16") or ";16" in raw_mode


def has_lost_bits(image: PillowImage.Image, raw_mode: str) -> bool:
    """Whether an image of Pillow has, or may have, fewer bits than the 16 of its file.

    Args:
        raw_mode: how its pixels lie in the file; "" where that is not known.
    """
    if raw_mode:
        return has_open_range(image, raw_mode) and not image.mode.startswith("I")
    if image.format == "PPM":
        return image.mode == "I"
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8 and image.mode[:1] != "I"
    return image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA", "LA", "CMYK")


def stated_largest(plugin: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """The largest value that the header allows, 2**n - 1 below 65,535; 0 if it says nothing.

    From TIFF's MaxSampleValue, OME's SignificantBits, or PNG's sBIT; the place in the stream stays.
    """
    if isinstance(plugin, TiffImagePlugin.TiffImageFile):
        value = plugin.tag_v2.get(_MAX_SAMPLE_VALUE)
        largest = max(value) if isinstance(value, tuple) and value else value
        ome = _OME_BITS.search(str(plugin.tag_v2.get(_DESCRIPTION, "")))
        bits = int(ome[1]) if ome else _bits_of(largest)
    elif plugin.format == "PNG":
        bits = _png_significant_bits(stream)
    else:
        bits = 0
    return 2**bits - 1 if LEAST_BITS <= bits < FULL_BITS else 0


def scaled_to_8_bits(values: NDArray[Any], largest: int) -> NDArray[np.uint8]:
    """Values from 0 to `largest` as levels from 0 to 255, rounded; larger ones become 255."""
    levels = values.astype(np.uint32)
    if largest < 65535:
        np.minimum(levels, largest, out=levels)
    levels *= 255  # in place: the image may be large
    levels += largest // 2
    levels //= largest
    return levels.astype(np.uint8)


def above_range(largest: int, bits: int) -> tuple[str, ...]:
    """A warning where the largest value of an image has more bits."""
    if largest < 2**bits:
        return ()
    return (f"values above {2**bits - 1:,}, the largest of {bits} bits, are white",)


def colour_of_16_bits(
    plugin: ImageFile.ImageFile,
    stream: BinaryIO,
    raw_mode: str,
    bits: int,
    file: str,
    tolerate_truncated: bool,
) -> PillowImage.Image:
    """Colour at its significant bits, of which Pillow reads the high bytes only.

    The file is read again with its low bytes, as if the order of bytes were the other one.

    Args:
        plugin: the loaded image, with the high bytes.
        stream: of its file.
        raw_mode: how the pixels lie in the file.
        file: its name in errors.
        tolerate_truncated: see `decode`.

    Returns:
        Mode ``RGB`` or ``RGBA``.

    Raises:
        UnsupportedMode: the low bytes cannot be read.
    """
    deep = _DEEP_COLOUR.fullmatch(raw_mode)
    if deep is None:
        reason = f"of this kind of 16-bit pixel ({raw_mode}) {bits} significant bits are not read"
        raise UnsupportedMode(file, reason, "save it as RGB, or with 8 bits a channel")
    stream.seek(0)
    low = type(plugin)(io.BytesIO(stream.read()))
    swapped = f"{deep[1]};16{_OTHER_BYTE[deep[2]]}"
    low.tile = [
        tile._replace(
            args=swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:])
        )
        for tile in low.tile
    ]
    try:
        low.load()
    except BROKEN_FILE_ERRORS:
        if not tolerate_truncated:
            raise
        low.tile = []  # it ends where `plugin` does
    values_HWC = np.asarray(plugin).astype(np.uint16) << 8 | np.asarray(low)
    levels_HWC = scaled_to_8_bits(values_HWC, 2**bits - 1)
    image = PillowImage.fromarray(levels_HWC)
    transparent = plugin.info.get("transparency")
    if isinstance(transparent, tuple):
        image.info["transparency"] = tuple(
            scaled_to_8_bits(np.array(transparent), 2**bits - 1).tolist()
        )
    return image


def _bits_of(largest: object) -> int:
    """n of 2**n - 1; 0 for what is nothing of the kind."""
    if not isinstance(largest, int) or largest <= 0 or largest & (largest + 1):
        return 0
    return largest.bit_length()


def _png_significant_bits(stream: BinaryIO) -> int:
    """The largest number in the chunk sBIT, which stands before the pixels; 0 without one."""
    place = stream.tell()
    stream.seek(8)
    found = 0
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT" and length <= 4:
            found = max(stream.read(length), default=0)
        if kind in (b"sBIT", b"IDAT"):
            break
        stream.seek(length + 4, 1)
    stream.seek(place)
    return found
