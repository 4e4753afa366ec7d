"""Two images beside each other, and over each other where they were registered.

Shape suffixes: H height, W width.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.bundle.image_sources import ImageFile, ImageSource
from holotype.errors import ImageError
from holotype.imaging.decode import DecodeOptions

SIDE = 240  # pixels of an image on a page
OpenImage = Callable[[str], PillowImage.Image | None]


def read_small(source: ImageSource) -> PillowImage.Image | None:
    """The image in RGB, at most SIDE pixels a side; None where it cannot be read (any more)."""
    try:
        decode_at, _ = source.open()
        shown = DecodeOptions(tolerate_truncated=True)  # what the gallery took in
        image = decode_at((SIDE, SIDE), shown)
    except ImageError:
        return None
    small = image.pixels.convert("RGB")
    small.thumbnail((SIDE, SIDE), PillowImage.Resampling.LANCZOS)
    return small


def image_opener(sources: Sequence[ImageSource]) -> OpenImage:
    """What opens an image by its name: one of these, or a file of a gallery."""
    by_name = {source.id: source for source in sources}
    return lambda name: read_small(by_name.get(name) or ImageFile(name, Path(name)))


def overlap(
    first: PillowImage.Image, second: PillowImage.Image, window: tuple[float, ...]
) -> PillowImage.Image:
    """Both in one frame: the first in red, the second in cyan, so that what agrees is grey.

    Args:
        window: where the first lies in the second: start and extent down, start and extent across,
            as fractions of a side.
    """
    top, height, left, width = window
    box = (
        left * second.width, top * second.height,
        (left + width) * second.width, (top + height) * second.height,
    )  # fmt: skip
    moved = second.convert("L").transform(
        first.size, PillowImage.Transform.EXTENT, box, PillowImage.Resampling.BILINEAR
    )
    red_HW, cyan_HW = np.asarray(first.convert("L")), np.asarray(moved)
    return PillowImage.fromarray(np.stack([red_HW, cyan_HW, cyan_HW], axis=2))
