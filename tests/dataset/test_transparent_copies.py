"""A transparent image and the same image flattened onto white or black are copies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from holotype.dataset.audit_fingerprints import compute_fingerprints, fingerprint
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates.search import find_near_duplicates
from holotype.imaging.decode import decode
from holotype.imaging.preprocessing import Preprocessing

FLATTENED = 10


def sticker(number: int) -> Image.Image:
    """A shape with a pattern and soft edges; its transparent pixels hide another colour."""
    random = np.random.default_rng(number)
    side = int(random.integers(140, 260))
    coarse = random.integers(0, 256, (int(random.integers(3, 7)),) * 2 + (3,), dtype=np.uint8)
    colour = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    for _ in range(4):
        x, y, size = random.uniform(0.1, 0.7, 3) * side
        fill = tuple(random.integers(0, 256, 3).tolist())
        ImageDraw.Draw(colour).ellipse((x, y, x + size / 2, y + size / 3), fill=fill)
    mask = Image.new("L", (side, side))
    corners = [
        (side * (0.5 + r * np.cos(a)), side * (0.5 + r * np.sin(a)))
        for a, r in zip(np.linspace(0, 2 * np.pi, 9)[:-1], random.uniform(0.2, 0.5, 8), strict=True)
    ]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    colour.putalpha(mask.filter(ImageFilter.GaussianBlur(1)))
    return colour


def flattened(image: Image.Image, level: int) -> Image.Image:
    ground = Image.new("RGBA", image.size, (level, level, level, 255))
    flat = Image.alpha_composite(ground, image).convert("RGB")
    return flat.resize((120, 120), Image.Resampling.LANCZOS)


def stickers(folder: Path, count: int, level: int) -> Path:
    (folder / "a").mkdir(parents=True)
    for number in range(count):
        image = sticker(number)
        image.save(folder / "a" / f"{number:03}.png")
        if number < FLATTENED:
            flattened(image, level).save(folder / "a" / f"{number:03}-flat.jpg", quality=70)
    return folder


@pytest.mark.parametrize("count", [50, pytest.param(190, marks=pytest.mark.slow)])
@pytest.mark.parametrize("level", [255, 0])
def test_flattened_copies_are_found_on_white_and_on_black(
    tmp_path: Path, level: int, count: int, fresh_cache: Path
) -> None:
    index = read_index(stickers(tmp_path / "data", count, level))
    found = find_near_duplicates(compute_fingerprints(index), index).pairs
    expected = {(f"a/{n:03}-flat.jpg", f"a/{n:03}.png") for n in range(FLATTENED)}
    assert {tuple(sorted((pair.first, pair.second))) for pair in found} == expected
    again = find_near_duplicates(compute_fingerprints(index), index).pairs  # from the cache
    assert again == found


def test_audit_and_network_see_transparent_pixels_alike(tmp_path: Path) -> None:
    sticker(0).save(tmp_path / "0.png")
    image = decode(tmp_path / "0.png")
    preprocessing = Preprocessing(64, 64, "squash", "bilinear", (0, 0, 0), (1, 1, 1))
    framed = np.asarray(preprocessing.frame(image).convert("L"), int)
    assert np.abs(fingerprint(image)["grey"].astype(int) - framed).max() <= 1
