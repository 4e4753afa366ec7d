"""scikit-learn's digits as images, and the same as a camera sees them that was mounted turned."""

from pathlib import Path

import numpy as np
from PIL import Image

import holotype
from holotype.files import csv_text

SIDE = 32
TURN = 30.0  # degrees


def digits(classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(N, 8, 8) in [0, 16], and the classes (N), shuffled."""
    from sklearn.datasets import load_digits

    found = load_digits()
    kept = np.flatnonzero(found.target < classes)
    order = np.random.default_rng(0).permutation(kept)
    return found.images[order], found.target[order]


def as_image(pixels: np.ndarray, turn: float = 0.0) -> Image.Image:
    whole = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
    return whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC).rotate(turn)


def write_folder(folder: Path, images: range, classes: int = 5) -> Path:
    """Class folders of some of the digits."""
    pixels, targets = digits(classes)
    for n in images:
        place = folder / str(targets[n])
        place.mkdir(parents=True, exist_ok=True)
        as_image(pixels[n]).save(place / f"{n:04d}.png")
    return folder


def write_labels(
    folder: Path, images: range, *, turn: float = TURN, random: float = 0.4, wrong: float = 0.0
) -> Path:
    """Turned digits with their labels in labels.csv.

    Args:
        random: the share of them that is a random sample; the others are chosen.
        wrong: the share of wrong labels.
    """
    pixels, targets = digits()
    folder.mkdir(parents=True)
    is_random = np.arange(len(images)) < random * len(images)
    is_wrong = np.random.default_rng(1).permutation(len(images)) < wrong * len(images)
    for n in images:
        as_image(pixels[n], turn).save(folder / f"{n:04d}.png")
    labels = [str((targets[n] + bad) % 5) for n, bad in zip(images, is_wrong, strict=True)]
    columns = {
        "path": [f"{n:04d}.png" for n in images],
        "label": labels,
        "purpose": ["random" if each else "chosen" for each in is_random],
    }
    (folder / "labels.csv").write_text(csv_text(columns))
    return folder


def train_champion(data: Path, output: Path) -> holotype.Run:
    return holotype.train(
        data,
        model="hog",
        recipe="linear",
        image_size=SIDE,
        overrides={"stages.0.Cs": [0.01], "stages.0.folds": None},
        output=output,
    )
