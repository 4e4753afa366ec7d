"""Made individuals: each has its own pattern, seen again with noise, in other light and shifted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from holotype.bundle.references import l2_normalized
from holotype.identification.storage.gallery_images import GalleryImage, ImageBlock

SIDE = 40


@dataclass(frozen=True)
class Sighting:
    """One made image: who, in which encounter, from which side."""

    individual: int
    encounter: int
    number: int = 0
    side: str = "left"

    @property
    def name(self) -> str:
        return f"t{self.individual:02d}"


def draw(one: Sighting, seed: int = 0) -> NDArray[np.uint8]:
    """Its image (SIDE, SIDE, 3); left and right side of an individual have nothing in common."""
    pattern_seed = [seed, one.individual, one.side == "left"]
    coarse = np.random.default_rng(pattern_seed).integers(40, 216, (5, 5, 3), dtype=np.uint8)
    size = (SIDE + 2, SIDE + 2)
    pattern = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float64)
    chance = np.random.default_rng([seed, one.individual, one.encounter, one.number, 7])
    top, left = chance.integers(0, 3, 2)
    seen = pattern[top : top + SIDE, left : left + SIDE]
    light, noise = chance.uniform(0.95, 1.05), chance.normal(0, 6, seen.shape)
    return (seen * light + noise).clip(0, 255).astype(np.uint8)


def write(folder: Path, sightings: Sequence[Sighting]) -> list[Path]:
    """PNG files FOLDER/tNN/eN/N-SIDE.png, in the order of the sightings."""
    paths = []
    for one in sightings:
        path = folder / one.name / f"e{one.encounter}" / f"{one.number}-{one.side}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(one)).save(path)
        paths.append(path)
    return paths


def write_table(file: Path, sightings: Sequence[Sighting]) -> Path:
    """The layout of the turtle project: a table with individual, encounter, side and date."""
    paths = write(file.parent / "images", sightings)
    lines = ["path,individual,encounter,side,date"]
    lines += [
        f"{path.relative_to(file.parent)},{one.name},{one.name}-e{one.encounter},{one.side},"
        f"2026-0{1 + one.encounter}-0{1 + one.number}"
        for path, one in zip(paths, sightings, strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def sightings(
    individuals: int, encounters: int, images: int = 1, sides: Sequence[str] = ("left",)
) -> list[Sighting]:
    return [
        Sighting(i, e, n, side)
        for i in range(individuals)
        for e in range(encounters)
        for n in range(images)
        for side in sides
    ]


def made_block(
    num_images: int, num_individuals: int, size: int, *, seed: int = 0, spread: float = 0.5
) -> ImageBlock:
    """Embeddings around a centre for each individual, and thumbnails of noise; no images."""
    random = np.random.default_rng(seed)
    centres = l2_normalized(np.random.default_rng(5).normal(size=(num_individuals, size)))
    who = np.arange(num_images) % num_individuals
    noise = l2_normalized(random.normal(size=(num_images, size)))
    images = tuple(
        GalleryImage(f"i{i:05d}", f"{seed}-{n}.png", f"{seed}-{n}", encounter=f"{seed}-{i}-{n}")
        for n, i in enumerate(who)
    )
    return ImageBlock(
        images,
        l2_normalized(centres[who] + spread * noise),
        random.integers(0, 256, (num_images, 48, 48), dtype=np.uint8),
    )
