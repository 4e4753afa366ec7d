"""The data sets `synthetic-cats-dogs` and `synthetic-turtles`: drawn animals, for a first try.

Cats and dogs differ in muzzle, eyes and mostly ears: colour, size, place, tilt, background, blur
and noise are random. A turtle is told by the pattern of its shell, which is the same in all its
images; light, water and blur belong to an encounter, whose images look alike for that reason.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter

from holotype.dataset.atomic_directory import write_table
from holotype.errors import UsageError

DEFAULT_IMAGES = 240
DEFAULT_TURTLES, MOST_TURTLES = 8, 99
SIZE = 96  # pixels; drawn four times as large and reduced
_SCALE = 4
_PARTS = (("train", 0.7), ("val", 0.15), ("test", 0.15))

Colour = tuple[int, int, int]


def make_cats_and_dogs(output: Path, images: int = DEFAULT_IMAGES, seed: int = 0) -> Path:
    """Draw faces of cats and dogs: `output/train/cat/cat.0.png`, and `val` and `test`.

    Args:
        output: a directory that is new or empty.
        images: in all, half of them cats; 70 % are for training, 15 % for validation and for test.

    Returns:
        `output`.

    Raises:
        UsageError: fewer than 20 images.
    """
    if images < 20:
        raise UsageError(f"--images {images}: expected at least 20, so that no part is empty.")
    for kind, name in enumerate(("cat", "dog")):
        count = images // 2 + (images % 2 if kind == 0 else 0)
        for number in range(count):
            folder = output / _part(number, count) / name
            folder.mkdir(parents=True, exist_ok=True)
            image = _face(name, np.random.default_rng([seed, kind, number]))
            image.save(folder / f"{name}.{number}.png", compress_level=1)
    return output


def make_turtles(output: Path, classes: int = DEFAULT_TURTLES, seed: int = 0) -> Path:
    """Draw turtles from above: `output/turtle-03/e2-1.png`, and a table.

    Every turtle is met in five encounters, and photographed four times in each.

    Args:
        output: a directory that is new or empty.
        classes: how many turtles.

    Returns:
        `output/table.csv` with path, label (the turtle) and group (the encounter).

    Raises:
        UsageError: fewer than 2 turtles, or more than 99.
    """
    if not 2 <= classes <= MOST_TURTLES:
        raise UsageError(f"--classes {classes}: expected 2 to {MOST_TURTLES} turtles.")
    rows = []
    for number in range(classes):
        name = f"turtle-{number:02d}"
        (output / name).mkdir(parents=True)
        for encounter in range(5):
            for shot in range(4):
                image = _turtle(seed, number, encounter, shot)
                path = f"{name}/e{encounter}-{shot}.png"
                image.save(output / path, compress_level=1)
                rows.append((path, name, f"{name}-e{encounter}"))
    return write_table(output, ("path", "label", "group"), rows)


def _part(number: int, count: int) -> str:
    """The part of an image: the first 70 % are for training, and so on."""
    reached = 0.0
    for part, share in _PARTS:
        reached += share
        if number < round(reached * count):
            return part
    return _PARTS[-1][0]


def _face(name: str, rng: np.random.Generator) -> PillowImage.Image:
    """The face of a cat or a dog, in random colours on a random background."""
    canvas = _background(rng)
    draw = _Pen(canvas, rng, turn=0.7)
    fur, inner = _fur(rng)
    nose = _shade(fur, 0.25)
    if name == "cat":
        for side in (-1, 1):
            draw.polygon([(side * 0.85, -1.15), (side * 0.15, -0.7), (side * 0.9, -0.25)], fur)
            draw.polygon([(side * 0.75, -0.9), (side * 0.4, -0.65), (side * 0.75, -0.4)], inner)
        draw.ellipse(0, 0, 0.95, 0.8, fur)
        for side in (-1, 1):
            draw.ellipse(side * 0.4, -0.12, 0.2, 0.15, (205, 200, 80))
            draw.ellipse(side * 0.4, -0.12, 0.05, 0.14, (15, 15, 15))
            for slope in (-0.12, 0.02, 0.16):
                draw.line([(side * 0.25, 0.35), (side * 1.15, 0.35 + slope)], _shade(fur, 0.3))
        draw.polygon([(-0.12, 0.2), (0.12, 0.2), (0, 0.34)], nose)
    else:
        draw.ellipse(0, 0, 0.8, 0.9, fur)
        pricked = rng.random() < 0.4  # a dog's ears hang or stand like a cat's
        for side in (-1, 1):
            if pricked:
                draw.polygon([(side * 0.85, -1.15), (side * 0.1, -0.75), (side * 0.85, -0.3)], fur)
            else:
                draw.ellipse(side * 0.82, -0.05, 0.26, 0.7, _shade(fur, 0.65))
            draw.ellipse(side * 0.32, -0.25, 0.13, 0.13, (25, 18, 12))
        draw.ellipse(0, 0.42, 0.45, 0.4, inner)
        draw.ellipse(0, 0.2, 0.2, 0.14, nose)
        if rng.random() < 0.6:
            draw.ellipse(0, 0.75, 0.13, 0.24, (220, 90, 110))
    return _photograph(canvas, rng, blur=rng.uniform(0, 2.2), noise=rng.uniform(4, 30))


def _turtle(seed: int, number: int, encounter: int, shot: int) -> PillowImage.Image:
    """One photo: pattern of the turtle, water and light of the encounter, place of the shot."""
    pattern = np.random.default_rng([seed, 1, number])
    scene = np.random.default_rng([seed, 2, number, encounter])
    rng = np.random.default_rng([seed, 3, number, encounter, shot])
    canvas = _background(scene, blue=True)
    draw = _Pen(canvas, rng, turn=0.6)
    shell = (110, 95, 60)
    for x, y in ((-0.75, -0.7), (0.75, -0.7), (-0.7, 0.75), (0.7, 0.75)):
        draw.ellipse(x, y, 0.3, 0.22, (95, 110, 70))
    draw.ellipse(0, -1.1, 0.22, 0.28, (95, 110, 70))
    draw.ellipse(0, 0, 0.85, 1.0, shell)
    for x, y in ((0, -0.6), (0, 0), (0, 0.6), (-0.5, -0.3), (0.5, -0.3), (-0.5, 0.35), (0.5, 0.35)):
        corners = int(pattern.integers(4, 8))
        radii = pattern.uniform(0.12, 0.32, corners)
        angles = 2 * math.pi * np.arange(corners) / corners + pattern.uniform(0, 3)
        outline = [
            (x + radius * math.cos(angle), y + radius * math.sin(angle))
            for radius, angle in zip(radii, angles, strict=True)
        ]
        draw.polygon(outline, _shade((200, 180, 110), float(pattern.uniform(0.35, 1.2))))
    light = scene.uniform(0.6, 1.25)
    return _photograph(canvas, rng, blur=scene.uniform(0, 1.2), noise=6, light=light)


class _Pen:
    """Draws in the animal's own coordinates: its head or shell is about the unit circle."""

    def __init__(self, canvas: PillowImage.Image, rng: np.random.Generator, turn: float) -> None:
        self._draw = ImageDraw.Draw(canvas)
        size = canvas.width
        self._radius = size * rng.uniform(0.18, 0.34)
        self._centre = size * (0.5 + rng.uniform(-0.1, 0.1, 2))
        angle = rng.uniform(-turn, turn)
        self._cos, self._sin = math.cos(angle), math.sin(angle)
        self._width = max(2, size // 90)

    def polygon(self, outline: list[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon([self._place(*corner) for corner in outline], fill=colour)

    def line(self, corners: list[tuple[float, float]], colour: Colour) -> None:
        self._draw.line([self._place(*one) for one in corners], fill=colour, width=self._width)

    def ellipse(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        turns = [2 * math.pi * k / 40 for k in range(40)]
        self.polygon([(x + across * math.cos(t), y + down * math.sin(t)) for t in turns], colour)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across, down = self._cos * x - self._sin * y, self._sin * x + self._cos * y
        return (
            float(self._centre[0] + self._radius * across),
            float(self._centre[1] + self._radius * down),
        )


def _background(rng: np.random.Generator, *, blue: bool = False) -> PillowImage.Image:
    """A smooth ground of two random colours, in the size of the canvas."""
    low, high = (20, 150) if blue else (30, 225)
    levels_HWC = rng.uniform(low, high, (3, 3, 3))
    if blue:
        levels_HWC += np.array([-15, 25, 60])
    small = PillowImage.fromarray(levels_HWC.clip(0, 255).astype(np.uint8))
    return small.resize((SIZE * _SCALE, SIZE * _SCALE), PillowImage.Resampling.BICUBIC)


def _fur(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """A colour for the head, and a lighter one: the same range for cats and dogs."""
    grey = rng.uniform(70, 190)
    warm = rng.uniform(0, 45)
    fur = (int(grey + warm), int(grey + warm / 3), int(grey - warm))
    return fur, _shade(fur, 1.3)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(255, factor * level)) for level in colour)
    return red, green, blue


def _photograph(
    canvas: PillowImage.Image,
    rng: np.random.Generator,
    *,
    blur: float,
    noise: float,
    light: float = 1.0,
) -> PillowImage.Image:
    """The canvas in the size of the image, with blur, noise and light."""
    small = canvas.reduce(_SCALE).filter(ImageFilter.GaussianBlur(blur))
    levels_HWC: NDArray[np.float64] = np.asarray(small, np.float64) * light
    levels_HWC += rng.normal(0, noise, levels_HWC.shape)
    return PillowImage.fromarray(levels_HWC.round().clip(0, 255).astype(np.uint8))
