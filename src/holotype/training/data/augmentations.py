"""Random augmentation of training images.

View 0 of an image is the image itself; every other view depends on (seed, image, view) alone, so
that it is the same in every run, whatever was drawn before it.

Applied to the framed image (8 bits, the network's size, grey or RGB), before normalisation.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageEnhance

from holotype.imaging.foreground_box import foreground_box
from holotype.training.config.augmentation_config import Augmentation

# Part of the key of every cached view; raise it when `apply_view` changes.
AUGMENT_VERSION = 2

_ERASED_AREA = (0.02, 0.4)  # of the image; both ranges as Zhong et al. 2020
_ERASED_ASPECT = (0.3, 1 / 0.3)
_CROPPED_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class CropWindow:
    """A crop: its sides as fractions of the frame's, and its place from 0 to 1."""

    width: float
    height: float
    x: float
    y: float


@dataclass(frozen=True)
class ErasedRectangle:
    """A rectangle of noise: its corners as fractions of the size, and the seed of the noise."""

    left: float
    top: float
    right: float
    bottom: float
    seed: int


@dataclass(frozen=True)
class ViewTransform:
    """One view, drawn from an `Augmentation`; the fields in the order in which they apply."""

    crop: CropWindow | None = None
    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: int = 0
    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    erased: ErasedRectangle | None = None


def sample_view(
    augmentation: Augmentation, *, seed: int, sha256: str, number: int
) -> ViewTransform:
    """View `number` of an image. Views 1, 2, 3 of `dihedral` turn on by a quarter each."""
    if number == 0:
        return ViewTransform()
    digest = hashlib.sha256(f"{seed}/{sha256}/{number}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint64))

    def around(centre: float, spread: float) -> float:
        return float(rng.uniform(centre - spread, centre + spread))

    symmetry = augmentation.symmetry
    # Drawn in this order for good: what is drawn later leaves the earlier numbers as they are.
    flip_horizontal = bool(rng.random() < 0.5)
    degrees = around(0, augmentation.rotation_degrees)
    scale = around(1, augmentation.zoom)
    shift = around(0, augmentation.shift), around(0, augmentation.shift)
    brightness, contrast = around(1, augmentation.brightness), around(1, augmentation.contrast)
    flip_vertical = bool(rng.random() < 0.5)
    saturation, hue = around(1, augmentation.saturation), around(0, augmentation.hue)
    window, erased = _sample_crop(rng, augmentation.crop), _sample_erasing(rng)
    return ViewTransform(
        crop=window if augmentation.crop < 1 else None,
        flip_horizontal=flip_horizontal and symmetry in ("horizontal", "both", "dihedral"),
        flip_vertical=flip_vertical and symmetry in ("vertical", "both"),
        quarter_turns=number % 4 if symmetry == "dihedral" else 0,
        degrees=degrees,
        scale=scale,
        shift=shift,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        erased=erased if rng.random() < augmentation.erasing else None,
    )


def _sample_crop(rng: np.random.Generator, min_area: float) -> CropWindow:
    """Area from `min_area` to 1, aspect within _CROPPED_ASPECT, no side longer than the frame's."""
    area = float(rng.uniform(min_area, 1))
    low, high = max(_CROPPED_ASPECT[0], area), min(_CROPPED_ASPECT[1], 1 / area)
    aspect = math.exp(rng.uniform(math.log(low), math.log(high)))
    return CropWindow(
        math.sqrt(area * aspect), math.sqrt(area / aspect), float(rng.random()), float(rng.random())
    )


def _sample_erasing(rng: np.random.Generator) -> ErasedRectangle:
    area = float(rng.uniform(*_ERASED_AREA))
    low, high = _ERASED_ASPECT
    aspect = math.exp(rng.uniform(math.log(low), math.log(high)))
    width, height = min(1.0, math.sqrt(area * aspect)), min(1.0, math.sqrt(area / aspect))
    left, top = float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height))
    return ErasedRectangle(left, top, left + width, top + height, int(rng.integers(2**32)))


def apply_view(framed: PillowImage.Image, view: ViewTransform) -> PillowImage.Image:
    """A framed image under a view; same size and mode.

    What a rotation, a shift or a smaller scale uncovers is filled with the mirrored image, so that
    no edge or colour of a fill gives the augmentation away.
    """
    if view == ViewTransform():
        return framed
    image = framed
    if view.crop is not None:
        box = crop_box(view.crop, image.size, foreground_box(image))
        image = image.resize(image.size, PillowImage.Resampling.BILINEAR, box)
    if view.flip_horizontal:
        image = image.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    if view.flip_vertical:
        image = image.transpose(PillowImage.Transpose.FLIP_TOP_BOTTOM)
    if view.quarter_turns:
        image = image.transpose(_QUARTER_TURNS[view.quarter_turns])
    image = _colour_jitter(_affine(image, view), view)
    return image if view.erased is None else _erase(image, view.erased)


def crop_box(
    window: CropWindow, size: tuple[int, int], content: tuple[int, int, int, int]
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the window in a frame.

    A window whose width is the fraction w of the frame's keeps at least w of the content's width,
    wherever the content lies, and likewise for the height: so the window's area is a lower bound on
    the share of the content's box that is kept.
    """
    left, right = _span(window.width * size[0], window.x, size[0], content[0], content[2])
    top, bottom = _span(window.height * size[1], window.y, size[1], content[1], content[3])
    return left, top, right, bottom


def _span(length: float, place: float, size: int, start: int, end: int) -> tuple[float, float]:
    kept = length / size * (end - start)
    lowest, highest = max(0.0, start + kept - length), min(size - length, end - kept)
    first = lowest + place * max(0.0, highest - lowest)
    return first, min(first + length, float(size))


def _affine(image: PillowImage.Image, view: ViewTransform) -> PillowImage.Image:
    """Rotate clockwise about the centre, scale, then shift by whole pixels."""
    if (view.degrees, view.scale, view.shift) == (0.0, 1.0, (0.0, 0.0)):
        return image
    width, height = image.size
    across, down = round(view.shift[0] * width), round(view.shift[1] * height)
    # Pillow wants the inverse map, from a pixel of the result to the image.
    cosine = math.cos(math.radians(view.degrees)) / view.scale
    sine = math.sin(math.radians(view.degrees)) / view.scale
    x, y = width / 2 + across, height / 2 + down
    left, top = width / 2 - cosine * x - sine * y, height / 2 + sine * x - cosine * y
    margin_x = _padding(left, (cosine * width, sine * height), width)
    margin_y = _padding(top, (-sine * width, cosine * height), height)
    levels = np.asarray(image)
    margins = [(margin_y, margin_y), (margin_x, margin_x), (0, 0)][: levels.ndim]
    padded = PillowImage.fromarray(np.pad(levels, margins, mode="symmetric"))
    backwards = (cosine, sine, left + margin_x, -sine, cosine, top + margin_y)
    bilinear = PillowImage.Resampling.BILINEAR
    return padded.transform(image.size, PillowImage.Transform.AFFINE, backwards, bilinear)


def _padding(origin: float, sides: tuple[float, float], length: int) -> int:
    """The most pixels by which a parallelogram leaves the image along one axis."""
    lowest = origin + min(0.0, sides[0]) + min(0.0, sides[1])
    highest = origin + max(0.0, sides[0]) + max(0.0, sides[1])
    return max(0, math.ceil(-lowest), math.ceil(highest - length)) + 1


def _colour_jitter(image: PillowImage.Image, view: ViewTransform) -> PillowImage.Image:
    """Brightness, contrast and saturation by interpolation from black, mean grey and greyscale."""
    if view.brightness != 1.0:
        image = ImageEnhance.Brightness(image).enhance(view.brightness)
    if view.contrast != 1.0:
        image = ImageEnhance.Contrast(image).enhance(view.contrast)
    if image.mode == "L":
        return image
    if view.saturation != 1.0:
        image = ImageEnhance.Color(image).enhance(view.saturation)
    turn = int(view.hue * 255)
    if turn:
        hue, saturation, value = image.convert("HSV").split()
        turned = hue.point([(level + turn) % 256 for level in range(256)])
        image = PillowImage.merge("HSV", (turned, saturation, value)).convert("RGB")
    return image


def _erase(image: PillowImage.Image, erased: ErasedRectangle) -> PillowImage.Image:
    """Fill the rectangle with uniform noise, the variant that Zhong et al. found best."""
    levels = np.array(image)
    height, width = levels.shape[:2]
    rows = slice(round(erased.top * height), round(erased.bottom * height))
    columns = slice(round(erased.left * width), round(erased.right * width))
    rng = np.random.default_rng(erased.seed)
    levels[rows, columns] = rng.integers(0, 256, levels[rows, columns].shape, np.uint8)
    return PillowImage.fromarray(levels)


_QUARTER_TURNS = {
    1: PillowImage.Transpose.ROTATE_90,
    2: PillowImage.Transpose.ROTATE_180,
    3: PillowImage.Transpose.ROTATE_270,
}
