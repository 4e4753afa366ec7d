"""Convert images of any Pillow mode to 8-bit grey or RGB with a separate alpha.

Arrays: H height, W width.
"""

from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, ImageFont

from holotype.errors import UnsupportedMode
from holotype.imaging.significant_bits import has_open_range, scaled_to_8_bits


def to_eight_bits(
    image: PillowImage.Image,
    raw_mode: str,
    file: str,
    *,
    white_is_zero: bool,
    bits: int,
) -> tuple[PillowImage.Image, PillowImage.Image | None]:
    """The pixels in mode ``L`` or ``RGB``, and the alpha unless all pixels are opaque.

    Args:
        image: of any mode; it is loaded.
        raw_mode: how its pixels lie in the file, such as ``L;4`` or ``RGB;16B``.
        file: its name in errors.
        white_is_zero: whether levels of 16 bits count from white.
        bits: how many of 16 are significant.

    Raises:
        UnsupportedMode: the range of the pixels is not known.
    """
    mode, is_open = image.mode, has_open_range(image, raw_mode)
    if mode.startswith("I;16"):
        largest = 4095 if raw_mode == "I;12" else 2**bits - 1 if is_open else 65535
        return _from_16_bits(image, largest, white_is_zero=white_is_zero)
    if mode == "I" and image.format == "PPM":  # scaled to 16 bits, by the maximum in its header
        image = PillowImage.fromarray(np.asarray(image).astype(np.uint16))
        return _from_16_bits(image, 2**bits - 1 if is_open else 65535, white_is_zero=False)
    if mode in ("I", "F"):
        raise UnsupportedMode(
            file,
            f"its pixels are 32-bit {'integers' if mode == 'I' else 'floats'} of unknown range",
            "scale it to 8 or 16 bits in a way that is the same for all images",
        )
    if mode == "LAB":
        return _from_lab(image), None
    if mode in ("1", "L"):
        grey = image.convert("L") if mode == "1" else image.copy()
        return grey, _mask_of_grey(grey, image.info.get("transparency"), raw_mode)
    if mode in ("LA", "La"):
        grey_alpha = image.convert("LA")
        return grey_alpha.getchannel("L"), _mask_unless_opaque(grey_alpha.getchannel("A"))
    if image.has_transparency_data:
        colour = image.info.get("transparency")
        if mode == "RGB" and isinstance(colour, tuple) and raw_mode.endswith(";16B"):
            image.info["transparency"] = tuple(level >> 8 for level in colour)
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), _mask_unless_opaque(rgba.getchannel("A"))
    return image.convert("RGB"), None


def largest_of_16_bits(image: PillowImage.Image, raw_mode: str) -> int:
    """The largest value of an image of 16 bits; 0 for other depths, and where the range is known.

    Of colour Pillow has kept the high bytes only: the value is what they allow at most.
    """
    if not has_open_range(image, raw_mode):
        return 0
    if image.mode.startswith("I"):
        return int(np.asarray(image).max())
    colours = [image.getchannel(band) for band in image.getbands() if band not in "Aa"]
    return max(int(np.asarray(colour).max()) for colour in colours) << 8 | 255


def _mask_unless_opaque(mask: PillowImage.Image) -> PillowImage.Image | None:
    return None if mask.getextrema() == (255, 255) else mask


def _mask_of_grey(
    grey: PillowImage.Image, transparent: object, raw_mode: str
) -> PillowImage.Image | None:
    """One grey level is transparent; PNG gives it in the bits of the file, before widening."""
    if not isinstance(transparent, int):
        return None
    level = transparent * {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    return _mask_unless_opaque(grey.point([0 if v == level else 255 for v in range(256)]))


def _from_16_bits(
    image: PillowImage.Image, largest: int, *, white_is_zero: bool
) -> tuple[PillowImage.Image, PillowImage.Image | None]:
    """The largest value becomes 255; of all 16 bits, values are divided by 257 and rounded."""
    values_HW = np.asarray(image)
    levels_HW = scaled_to_8_bits(values_HW, largest)
    if white_is_zero:
        levels_HW = 255 - levels_HW
    grey = PillowImage.fromarray(levels_HW)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey, None
    mask_HW = np.where(values_HW == transparent, 0, 255).astype(np.uint8)
    return grey, _mask_unless_opaque(PillowImage.fromarray(mask_HW))


def _from_lab(image: PillowImage.Image) -> PillowImage.Image:
    """CIE L*a*b* has no plain formula in Pillow; its colour management converts to sRGB."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("conversion from LAB failed")
    return converted


@lru_cache
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans of matplotlib or of the system; else Pillow's own, which knows ASCII only.

    The base install has no matplotlib; where the system has no DejaVu Sans either, other letters
    are drawn as boxes.
    """
    found = find_spec("matplotlib")  # found without importing it
    files = ["DejaVuSans.ttf"]
    if found is not None and found.origin is not None:
        files.insert(0, str(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"))
    for file in files:
        with suppress(OSError):
            return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)
