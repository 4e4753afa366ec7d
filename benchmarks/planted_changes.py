"""Changes that make a near-duplicate of an image, at strengths for tuning and for reports.

The limits of `holotype.dataset.near_duplicates` were chosen with `TUNING` (seeds 7 and 11) and
`ROUGH` (seed 13); the tables in RESULTS.md were made with `REPORTED` and seed 1. No strength,
string or colour of `REPORTED` occurs in the others.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
Resampling = Image.Resampling
T = TypeVar("T")


@dataclass(frozen=True)
class Strengths:
    """How strong each kind of change is; one value is drawn for every copy."""

    factors: Sequence[float]
    filters: Sequence[Resampling]
    qualities: Sequence[int]
    gains: Sequence[float]
    crops: Sequence[float]  # of width and height
    letters: Sequence[float]  # height of the text, as a share of the shorter side
    strings: Sequence[str]
    frames: Sequence[float]  # of the shorter side
    greys: Sequence[int]  # of text and frames


TUNING = Strengths(
    factors=(0.5, 0.75, 1.5, 2.0),
    filters=(Resampling.BICUBIC, Resampling.BILINEAR),
    qualities=(30, 50, 75, 95),
    gains=(0.85, 0.95, 1.05, 1.15),
    crops=(0.02, 0.05, 0.1),
    letters=(0.05, 0.08),
    strings=("copyright", "IMG 0042", "cell 7"),
    frames=(0.02, 0.04),
    greys=(0, 255),
)
ROUGH = Strengths(
    factors=(0.55, 0.65, 0.9, 1.2),
    filters=(Resampling.BOX, Resampling.BICUBIC),
    qualities=(35, 45, 70),
    gains=(0.83, 0.9, 1.1, 1.17),
    crops=(0.04, 0.07, 0.08),
    letters=(0.055, 0.075),
    strings=("Foto: A. Weber", "specimen 12", "0815"),
    frames=(0.025, 0.045),
    greys=(10, 128, 245),
)
REPORTED = Strengths(
    factors=(0.6, 0.85, 1.3, 1.8),
    filters=(Resampling.LANCZOS, Resampling.HAMMING),
    qualities=(40, 60, 85, 90),
    gains=(0.88, 0.93, 1.07, 1.12),
    crops=(0.03, 0.06, 0.09),
    letters=(0.06, 0.07),
    strings=("(c) museum", "2026-11-22", "No. 113"),
    frames=(0.03, 0.05),
    greys=(20, 235),
)


def changes(strengths: Strengths) -> dict[str, Change]:
    """Kinds of change by name; each draws its strength and place from the generator."""

    def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        factor, filter = _pick(strengths.factors, rng), _pick(strengths.filters, rng)
        return image.resize((round(image.width * factor), round(image.height * factor)), filter)

    def recompressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_pick(strengths.qualities, rng))
        return Image.open(stream)

    def brightness(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        gain = _pick(strengths.gains, rng)
        return image.point(lambda level: min(255, round(level * gain)))

    def contrast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        gain, middle = _pick(strengths.gains, rng), float(np.asarray(image.convert("L")).mean())
        return image.point(lambda v: min(255, max(0, round(middle + (v - middle) * gain))))

    def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        share = _pick(strengths.crops, rng)
        width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
        left = int(rng.integers(0, image.width - width + 1))
        top = int(rng.integers(0, image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    def mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return ImageOps.mirror(image)

    def turned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
        return image.transpose(turns[int(rng.integers(3))])

    def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        size = max(8, round(min(image.size) * _pick(strengths.letters, rng)))
        font, words = ImageFont.load_default(size), _pick(strengths.strings, rng)
        changed, grey = image.copy(), _pick(strengths.greys, rng)
        draw = ImageDraw.Draw(changed)
        _, _, width, height = (int(v) for v in draw.textbbox((0, 0), words, font))
        left = int(rng.integers(0, max(1, image.width - width)))
        top = _pick((2, image.height - height - 4, int(rng.integers(image.height - height))), rng)
        draw.text((left, top), words, grey if image.mode == "L" else (grey,) * 3, font)
        return changed

    def frame_over(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, grey = _frame(image, rng)
        inner = ImageOps.crop(image, width)
        return ImageOps.expand(inner, width, grey)

    def frame_around(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, grey = _frame(image, rng)
        return ImageOps.expand(image, width, grey)

    def _frame(image: Image.Image, rng: np.random.Generator) -> tuple[int, int | tuple[int, ...]]:
        grey = _pick(strengths.greys, rng)
        width = max(1, round(min(image.size) * _pick(strengths.frames, rng)))
        return width, grey if image.mode == "L" else (grey,) * 3

    return {
        "resized": resized,
        "recompressed": recompressed,
        "brightness": brightness,
        "contrast": contrast,
        "cropped": cropped,
        "mirrored": mirrored,
        "turned": turned,
        "text": text,
        "frame over": frame_over,
        "frame around": frame_around,
    }


def _pick(values: Sequence[T], rng: np.random.Generator) -> T:
    return values[int(rng.integers(len(values)))]
