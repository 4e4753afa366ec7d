"""The sheet of one image: image, heatmap, captions, and similar training images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.explanation.compute_heatmap import Heatmap
from holotype.explanation.heatmap_drawing import (
    captioned_row,
    captioned_tiles,
    overlay,
    scaled_rgb,
    stack_vertically,
)
from holotype.explanation.nearest_training import SimilarImage
from holotype.imaging.decode import Image


def draw_sheet(
    image: Image,
    background: tuple[int, int, int],
    found: Heatmap,
    similar: Sequence[SimilarImage] = (),
) -> PillowImage.Image:
    """The image beside its heatmap, with captions; similar training images in a row below.

    Args:
        background: what transparent pixels are laid upon.
    """
    rgb = scaled_rgb(image, background, longest=480, shortest=240)
    laid_over = overlay(np.asarray(rgb), found.resized_to(rgb.size))
    above = captioned_row(
        [rgb, PillowImage.fromarray(laid_over)],
        [(f"{found.class_name}: {found.probability:.1%}", 18), *_captions(found)],
    )
    if not similar:
        return above
    heading = captioned_row([], [("The most similar training images:", 12)])
    captions = [
        [one.class_name, f"cosine {one.cosine:.3f}", Path(one.name).name] for one in similar
    ]
    return stack_vertically(
        [above, heading, captioned_tiles([one.image for one in similar], captions)]
    )


def _captions(found: Heatmap) -> list[tuple[str, int]]:
    if not found.is_class_specific:
        caption = "bright: where the network looks, whatever the class"
    elif found.values_hw.any():
        caption = f"bright: evidence for {found.class_name!r} rather than for another class"
    else:
        caption = f"no evidence for {found.class_name!r} in this image"
    return [(caption, 12), (found.method, 12)]
