"""Slices in their common frame, and how far two of them cover each other.

Shape suffixes: S side of the frame, C colour channels.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.explanation.pixel_similarity import otsu_mask

SIDE = 256  # pixels of what is drawn
# Orange and blue of Okabe and Ito, which the colour-blind tell apart; both together are white.
ONLY_FIRST, ONLY_SECOND, BOTH = (230, 159, 0), (0, 114, 178), (255, 255, 255)


def overlap_SSC(first_SS: NDArray[np.uint8], second_SS: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is bright in one slice (orange), in the other one (blue), and in both (white)."""
    first, second = _bright_SS(first_SS), _bright_SS(second_SS)
    drawn_SSC = np.zeros((*first_SS.shape, 3), np.uint8)
    drawn_SSC[first & ~second] = ONLY_FIRST
    drawn_SSC[~first & second] = ONLY_SECOND
    drawn_SSC[first & second] = BOTH
    return drawn_SSC


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Grey levels (S, S) or colours (S, S, C) as a file."""
    content = io.BytesIO()
    PillowImage.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _bright_SS(grey_SS: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return otsu_mask(np.asarray(grey_SS, np.float32) / np.float32(255))
