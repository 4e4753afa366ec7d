"""The bounding box of the foreground: what differs from the colour of the border.

For specimens on a plain background, dark or light, for slices on black, and for images cut out with
an alpha mask. Everything on the background, such as a scale bar or a label, is foreground.

Arrays: H height, W width, C channels, of a copy that was reduced to at most `_LONGEST` pixels.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFilter

Box = tuple[int, int, int, int]  # left, top, right, bottom

_LONGEST = 256  # enough to find the content, and each pixel is the mean of many: noise shrinks
_RING = 0.02  # how much of the shorter side is border
_LEAST_CONTRAST = 16  # levels: above the ringing of JPEG
_LEAST_SHARE = 0.0005  # of the pixels; an image with less foreground is blank
_TRIMMED = 0.001  # of the foreground on each side: specks beyond the specimen are ignored
_MARGIN = 0.04  # of the longer side of the content


def foreground_box(pixels: PillowImage.Image, mask: PillowImage.Image | None = None) -> Box:
    """The bounding box of the foreground with a small margin; the whole image if there is none.

    The background is the median colour of the border, so a specimen may touch the border. The
    threshold on the difference follows from the noise of the border. Where alpha makes a part of
    the image transparent, the foreground is what is opaque.

    Args:
        pixels: mode ``L`` or ``RGB``.
        mask: the alpha, mode ``L``, of the same size.

    Returns:
        Whole pixels, left and top included, right and bottom not. A blank image, and one without a
        plain border, is all foreground.
    """
    width, height = pixels.size
    step = max(1, -(-max(width, height) // _LONGEST))
    foreground_HW = _foreground_mask(
        pixels.reduce(step), None if mask is None else mask.reduce(step)
    )
    if np.count_nonzero(foreground_HW) <= _LEAST_SHARE * foreground_HW.size:
        return 0, 0, width, height
    left, right = _extent(foreground_HW.sum(axis=0))
    top, bottom = _extent(foreground_HW.sum(axis=1))
    margin = max(1, round(_MARGIN * step * max(right - left, bottom - top)))
    return (
        max(0, left * step - margin),
        max(0, top * step - margin),
        min(width, right * step + margin),
        min(height, bottom * step + margin),
    )


def _foreground_mask(
    pixels: PillowImage.Image, mask: PillowImage.Image | None
) -> NDArray[np.bool_]:
    """(H, W): the foreground; single pixels are noise."""
    opaque_HW = np.asarray(mask) >= 128 if mask is not None else None
    if opaque_HW is None or opaque_HW.all():
        return _median_filtered(_differs_from_border(np.asarray(pixels, np.int16)))
    return _median_filtered(opaque_HW)


def _differs_from_border(levels: NDArray[np.int16]) -> NDArray[np.bool_]:
    levels_HWC = levels.reshape(*levels.shape[:2], -1)
    ring_HW = np.ones(levels_HWC.shape[:2], bool)
    wide = max(1, round(_RING * min(ring_HW.shape)))
    ring_HW[wide:-wide, wide:-wide] = False
    background_C = np.median(levels_HWC[ring_HW], axis=0)
    difference_HW = np.abs(levels_HWC - background_C).max(axis=2)
    # The median deviation times 1.4826 is the standard deviation of normal noise.
    noise = 1.4826 * float(np.median(difference_HW[ring_HW]))
    return np.asarray(difference_HW > max(_LEAST_CONTRAST, 4 * noise))


def _median_filtered(foreground_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if min(foreground_HW.shape) < 16:  # in so small an image a single pixel is no noise
        return foreground_HW
    image = PillowImage.fromarray(foreground_HW.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.MedianFilter(3))) > 0


def _extent(counts: NDArray[np.int64]) -> tuple[int, int]:
    """First and last row or column of the foreground, without the outermost specks."""
    cumulative = np.cumsum(counts)
    trimmed = _TRIMMED * cumulative[-1]
    first = int(np.searchsorted(cumulative, trimmed, side="right"))
    last = int(np.searchsorted(cumulative, cumulative[-1] - trimmed, side="left"))
    return first, last + 1
