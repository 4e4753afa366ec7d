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
    title = (f"{found.class_name}: {found.probability:.1%}", 18)
    above = captioned_row(
        [rgb, PillowImage.fromarray(laid_over)],
        [title, (caption_of(found), 12), (found.method, 12)],
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


def caption_of(found: Heatmap) -> str:
    """What a heatmap shows, in words."""
    if not found.values_hw.any():
        return "no evidence for this class in this image"
    if found.is_uniform:
        return "about as much evidence everywhere: no place stands out"
    if not found.is_class_specific:
        return "bright: where the network looks, whatever the class"
    return f"bright: evidence for {found.class_name!r} rather than for another class"
