"""Training-only changes of a picture: what a view of it may look like.

View 0 of a picture is the picture itself; every other view is decided by (seed, picture, view)
alone, so that it is the same in every run, whatever was drawn before it.

Applied to the framed picture (8 bits, the network's size, grey or RGB), before normalisation.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from holotype.training.recipe import Augmentation


@dataclass(frozen=True)
class View:
    """One way to look at a picture, drawn from an `Augmentation`."""

    mirrored: bool = False
    quarter_turns: int = 0
    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 1.0
    contrast: float = 1.0


def draw_view(augmentation: Augmentation, *, seed: int, sha256: str, number: int) -> View:
    """View `number` of a picture. Views 1, 2, 3 of `dihedral` turn on by a quarter each."""
    if number == 0:
        return View()
    digest = hashlib.sha256(f"{seed}/{sha256}/{number}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint64))

    def around(centre: float, spread: float) -> float:
        return float(rng.uniform(centre - spread, centre + spread))

    mirrored = bool(rng.random() < 0.5) and augmentation.symmetry != "none"
    return View(
        mirrored=mirrored,
        quarter_turns=number % 4 if augmentation.symmetry == "dihedral" else 0,
        degrees=around(0, augmentation.rotation_degrees),
        scale=around(1, augmentation.zoom),
        shift=(around(0, augmentation.shift), around(0, augmentation.shift)),
        brightness=around(1, augmentation.brightness),
        contrast=around(1, augmentation.contrast),
    )


def look(
    framed: PillowImage.Image, view: View, background: tuple[int, int, int]
) -> PillowImage.Image:
    """A framed picture under a view; same size and mode.

    What a rotation or a shift uncovers shows the background.
    """
    if view == View():
        return framed  # without torchvision, which takes seconds to import
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    picture = framed
    if view.mirrored:
        picture = picture.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    if view.quarter_turns:
        picture = picture.transpose(_QUARTER_TURNS[view.quarter_turns])
    if (view.degrees, view.scale, view.shift) != (0.0, 1.0, (0.0, 0.0)):
        width, height = picture.size
        picture = functional.affine(
            picture, angle=view.degrees, scale=view.scale, shear=[0.0],
            translate=[round(view.shift[0] * width), round(view.shift[1] * height)],
            interpolation=InterpolationMode.BILINEAR,
            fill=list(background) if picture.mode == "RGB" else [_grey(background)],
        )  # fmt: skip
    if view.brightness != 1.0:
        picture = functional.adjust_brightness(picture, view.brightness)
    if view.contrast != 1.0:
        picture = functional.adjust_contrast(picture, view.contrast)
    return picture


_QUARTER_TURNS = {
    1: PillowImage.Transpose.ROTATE_90,
    2: PillowImage.Transpose.ROTATE_180,
    3: PillowImage.Transpose.ROTATE_270,
}


def _grey(colour: tuple[int, int, int]) -> int:
    """ITU-R 601 luma, as Pillow turns RGB into grey."""
    red, green, blue = colour
    return (red * 299 + green * 587 + blue * 114) // 1000
