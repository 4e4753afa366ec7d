"""Slices in their common frame, and how far two of them cover each other.

Shape suffixes: S side of the frame, C colour channels.
"""

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.explanation.pixel_similarity import otsu_mask
from holotype.explanation.specimen_matching import FRAME, Slice
from holotype.imaging.decode import decode

SIDE = 256  # pixels of what is drawn
_TILE = replace(FRAME, height=SIDE, width=SIDE)
# Orange and blue of Okabe and Ito, which the colour-blind tell apart; both together are white.
ONLY_FIRST, ONLY_SECOND, BOTH = (230, 159, 0), (0, 114, 178), (255, 255, 255)


def framed_png(one: Slice) -> bytes:
    """A slice as it is compared: cropped to what is bright, in a square frame.

    Raises:
        ImageError: it cannot be read.
    """
    return _png(_TILE.frame(decode(one.file, name=one.name)).convert("L"))


def overlap_png(first: Slice, second: Slice) -> bytes:
    """What is bright in one slice (orange), in the other one (blue), and in both (white).

    Raises:
        ImageError: one of them cannot be read.
    """
    masks = [_bright_SS(one) for one in (first, second)]
    drawn_SSC = np.zeros((SIDE, SIDE, 3), np.uint8)
    drawn_SSC[masks[0] & ~masks[1]] = ONLY_FIRST
    drawn_SSC[~masks[0] & masks[1]] = ONLY_SECOND
    drawn_SSC[masks[0] & masks[1]] = BOTH
    return _png(PillowImage.fromarray(drawn_SSC))


def _bright_SS(one: Slice) -> NDArray[np.bool_]:
    framed = _TILE.frame(decode(one.file, name=one.name)).convert("L")
    return otsu_mask(np.asarray(framed, np.float32) / np.float32(255))


def _png(image: PillowImage.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
