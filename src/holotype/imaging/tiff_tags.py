"""What TIFF tags say about pixels that Pillow passes over: signs, unused bands, inversion."""

from PIL import Image as PillowImage
from PIL import TiffImagePlugin

from holotype.errors import UnsupportedMode

_PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT, _BITS = 262, 277, 339, 258
_WHITE_IS_ZERO, _SIGNED = 0, 2


def refuse_signed(image: PillowImage.Image, file: str) -> None:
    """Refuse integers with a sign, which Pillow reads as if they had none.

    Raises:
        UnsupportedMode: the pixels are signed integers.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    formats = image.tag_v2.get(_SAMPLE_FORMAT, (1,))
    if _SIGNED in (formats if isinstance(formats, tuple) else (formats,)):
        bits = image.tag_v2.get(_BITS, (8,))
        raise UnsupportedMode(
            file,
            f"its pixels are signed {bits[0]}-bit integers of unknown range",
            "scale it to unsigned 8 or 16 bits in a way that is the same for all images",
        )


def unused_bands(image: PillowImage.Image) -> tuple[str, ...]:
    """A warning about bands beyond those of the image's mode; nothing where there are none."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return ()
    total, used = image.tag_v2.get(_SAMPLES, 1), len(image.getbands())
    if not isinstance(total, int) or total <= used:
        return ()
    rest = f"band {total} is" if total == used + 1 else f"bands {used + 1} to {total} are"
    return (f"the file has {total} bands; {rest} not used",)


def is_white_zero(image: PillowImage.Image) -> bool:
    """Whether 16-bit levels count from white; Pillow inverts such files up to 8 bits only."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
