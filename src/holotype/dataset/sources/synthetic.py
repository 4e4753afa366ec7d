"""The data set `synthetic`: generated images of coloured shapes on textured backgrounds.

Arrays: H height, W width, C colour channels.
"""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from holotype.dataset.atomic_directory import write_table
from holotype.errors import UsageError

MASK_FOLDER = ".masks"  # hidden, so that it is not taken for a class

_TEXTURES = ("plain", "striped", "checked", "dotted")


def make_synthetic(
    output: Path, classes: int = 4, images: int = 400, seed: int = 0, *, image_size: int = 64
) -> Path:
    """Draw coloured shapes on textured backgrounds, with their masks.

        output/<class>/<nnnn>.png           the images
        output/.masks/<class>/<nnnn>.png    255 inside the object, else 0
        output/table.csv                    path, label, mask

    The class is the shape; beyond eight classes, a shape and a texture such as ``striped-disc``.
    Position, size, orientation, colours, noise and otherwise the texture are random. An image
    depends only on the seed, its class and its number, so the first images are the same for any
    number of images.

    Args:
        image_size: height and width in pixels.

    Raises:
        UsageError: not 2 to 32 classes, or fewer images than classes.
    """
    names = [*_SHAPES] if classes <= len(_SHAPES) else [f"{t}-{s}" for t, s in _COMBINATIONS]
    if not 2 <= classes <= len(names):
        raise UsageError(f"--classes {classes}: expected 2 to {len(_COMBINATIONS)}.")
    if images < classes:
        raise UsageError(f"--images {images}: expected at least one for each of {classes} classes.")
    for name in names[:classes]:
        (output / name).mkdir(parents=True)
        (output / MASK_FOLDER / name).mkdir(parents=True)
    rows = []
    for position in range(images):
        number, kind = divmod(position, classes)
        name = names[kind]
        texture, _, shape = name.rpartition("-")
        rng = np.random.default_rng([seed, kind, number])
        image, mask = _draw(shape, texture or str(rng.choice(_TEXTURES)), image_size, rng)
        path, mask_path = f"{name}/{number:04d}.png", f"{MASK_FOLDER}/{name}/{number:04d}.png"
        image.save(output / path, compress_level=1)
        mask.save(output / mask_path, compress_level=1)
        rows.append((path, name, mask_path))
    write_table(output, ("path", "label", "mask"), sorted(rows))
    return output


Outline = list[tuple[float, float]]


def _circle(radius: float, x: float = 0.0) -> Outline:
    return [(x + px, py) for px, py in _polygon([radius] * 48)]


def _polygon(radii: Sequence[float]) -> Outline:
    """A polygon with corners at even angles and given distances from the centre."""
    step = 2 * math.pi / len(radii)
    return [(r * math.cos(k * step), r * math.sin(k * step)) for k, r in enumerate(radii)]


# shape -> its outline and its hole, within the unit circle
_SHAPES: dict[str, tuple[Outline, Outline]] = {
    "disc": (_circle(0.8), []),
    "square": (_polygon([1.0] * 4), []),
    "triangle": (_polygon([1.0] * 3), []),
    "star": (_polygon([1.0, 0.4] * 5), []),
    "ring": (_circle(0.95), _circle(0.5)),
    "cross": (
        [(1, a) for a in (-0.3, 0.3)]
        + [(0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3)]
        + [(-1, 0.3), (-1, -0.3), (-0.3, -0.3), (-0.3, -1), (0.3, -1), (0.3, -0.3)],
        [],
    ),
    "crescent": (_circle(0.95), _circle(0.75, x=0.45)),
    "arrow": (
        [(1, 0), (0.1, 0.8), (0.1, 0.3), (-0.9, 0.3), (-0.9, -0.3), (0.1, -0.3), (0.1, -0.8)],
        [],
    ),
}
_COMBINATIONS = [(texture, shape) for texture, shape in product(_TEXTURES, _SHAPES)]


def _draw(
    shape: str, texture: str, size: int, rng: np.random.Generator
) -> tuple[PillowImage.Image, PillowImage.Image]:
    """One image and the mask of its object."""
    mask = _draw_shape(shape, size, rng)
    background_C, object_C = _two_colours(rng)
    smooth = PillowImage.fromarray(rng.normal(0, 18, (5, 5)).astype(np.float32))
    background_HW = np.asarray(smooth.resize((size, size), PillowImage.Resampling.BICUBIC))
    background_HW = background_HW + rng.uniform(0, 15) * _pattern(
        str(rng.choice(_TEXTURES)), size, rng
    )
    object_HW = rng.uniform(25, 40) * _pattern(texture, size, rng)
    alpha_HW1 = np.asarray(mask, np.float64)[:, :, None] / 255
    levels_HWC = (1 - alpha_HW1) * (background_C + background_HW[:, :, None])
    levels_HWC += alpha_HW1 * (object_C + object_HW[:, :, None])
    levels_HWC += rng.normal(0, rng.uniform(3, 10), levels_HWC.shape)
    image = PillowImage.fromarray(levels_HWC.round().clip(0, 255).astype(np.uint8))
    return image, mask.point(lambda level: 255 if level >= 128 else 0)


def _draw_shape(shape: str, size: int, rng: np.random.Generator) -> PillowImage.Image:
    """The antialiased mask of the object, 0 to 255: drawn four times as large and reduced."""
    canvas = 4 * size
    radius = canvas * rng.uniform(0.2, 0.36)
    x, y = rng.uniform(radius, canvas - radius, 2)
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = radius * math.cos(angle), radius * math.sin(angle)
    cover = PillowImage.new("L", (canvas, canvas))
    for outline, level in zip(_SHAPES[shape], (255, 0), strict=True):
        if outline:
            corners = [(x + cos * px - sin * py, y + sin * px + cos * py) for px, py in outline]
            ImageDraw.Draw(cover).polygon(corners, fill=level)
    return cover.reduce(4)


def _two_colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random colours of background and object that differ in brightness."""
    brightness_C = np.array([0.299, 0.587, 0.114])
    while True:
        background_C, object_C = rng.uniform(20, 235, (2, 3))
        if abs((background_C - object_C) @ brightness_C) > 60:
            return background_C, object_C


def _pattern(texture: str, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(H, W) in [-1, 1]: a texture of random direction and period."""
    if texture == "plain":
        return np.zeros((size, size))
    angle, period = rng.uniform(0, math.pi), size * rng.uniform(0.08, 0.14)
    y_HW, x_HW = np.mgrid[:size, :size] * (2 * math.pi / period)
    along_HW = np.sin(math.cos(angle) * x_HW + math.sin(angle) * y_HW + rng.uniform(0, 6))
    if texture == "striped":
        return np.where(along_HW > 0, 1.0, -1.0)
    across_HW = np.sin(math.cos(angle) * y_HW - math.sin(angle) * x_HW + rng.uniform(0, 6))
    if texture == "checked":
        return np.where(along_HW * across_HW > 0, 1.0, -1.0)
    return np.where(along_HW + across_HW > 0.8, 1.0, -1.0)  # dotted
