"""Small images that were resized or recompressed are recognised by repeating the operation."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from holotype.dataset.audit_fingerprints import fingerprint
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates import resize_recompress
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.duplicate_clusters import connected_clusters
from holotype.dataset.near_duplicates.pair_measurements import PairMeasurements
from holotype.dataset.near_duplicates.search import _search
from holotype.dataset.near_duplicates.thresholds import DEFAULT
from holotype.dataset.sources.fetch import fetch
from holotype.imaging.decode import decode

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "triangle": Image.Resampling.BILINEAR,
    "Hamming": Image.Resampling.HAMMING,
    "cubic": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
}


def digit(number: int, size: int = 30) -> Image.Image:
    """A handwritten digit, enlarged, with some grain, for details that are lost."""
    pixels = load_digits().images[number].astype(np.uint8) * 15
    grain = np.random.default_rng(number).integers(0, 12, (size, size), np.uint8)
    enlarged = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    return Image.fromarray(np.minimum(np.asarray(enlarged), 240) + grain)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def fingerprint_of(image: Image.Image) -> NDArray[np.void]:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return fingerprint(decode(stream.getvalue(), name="x.png"))


def reproduced_by(first: Image.Image, second: Image.Image) -> int:
    """The operation by which `measure_reproductions` gets one image from the other, or 0."""
    records = np.stack([fingerprint_of(image) for image in (first, second)])
    zero = np.zeros(1, np.int64)
    found = Candidates.from_transforms(zero, zero + 1, zero)
    measured = resize_recompress.measure_reproductions(
        records, found, PairMeasurements.unmeasured(found), zero
    )
    return int(measured.reproduced_by_N[0])


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("size", [(15, 15), (19, 23), (25, 25), (41, 37), (90, 75)])
def test_a_resized_image_is_recognised_by_any_filter(name: str, size: tuple[int, int]) -> None:
    original = digit(3)
    assert reproduced_by(original, original.resize(size, PILLOW[name])) == resize_recompress.RESIZED
    assert reproduced_by(original.resize(size, PILLOW[name]), original) == resize_recompress.RESIZED
    assert reproduced_by(original, digit(13).resize(size, PILLOW[name])) == 0  # another three


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(15, 15), (23, 19), (41, 37)])
def test_resizing_without_antialiasing_is_recognised(mode: str, size: tuple[int, int]) -> None:
    pixels = torch.from_numpy(np.asarray(digit(5), np.float32))[None, None]
    resized = torch.nn.functional.interpolate(pixels, size, mode=mode)[0, 0]
    image = Image.fromarray(resized.round().clamp(0, 255).to(torch.uint8).numpy())
    assert reproduced_by(digit(5), image) == resize_recompress.RESIZED


@pytest.mark.parametrize("quality", [20, 37, 50, 63, 75, 88, 95])
def test_a_recompressed_image_is_recognised_at_any_quality(quality: int) -> None:
    original = digit(7)
    found = reproduced_by(original, recompressed(original, quality))
    assert found == resize_recompress.RECOMPRESSED
    assert reproduced_by(original, recompressed(digit(17), quality)) == 0


def test_a_recompressed_jpeg_in_colour_is_recognised() -> None:
    original = Image.merge("RGB", [digit(2), digit(2), digit(2)])
    first = recompressed(original, 90)
    assert reproduced_by(first, recompressed(first, 45)) == resize_recompress.RECOMPRESSED


def test_images_that_are_not_stored_in_full_are_not_tried() -> None:
    large = digit(3, size=200)
    assert reproduced_by(large, large.resize((150, 150), Image.Resampling.BICUBIC)) == 0
    assert reproduced_by(large, recompressed(large, 40)) == 0


def pairs_among(images: list[Image.Image]) -> set[tuple[int, int]]:
    found = _search(np.stack([fingerprint_of(image) for image in images]))
    return {(min(pair[:2]), max(pair[:2])) for pair in found}


def test_another_colour_is_no_copy_though_its_grey_image_is_resized() -> None:
    grey = np.asarray(digit(4), np.float32)[..., None]
    blue = grey * (0.6, 0.6, 0.6) + (0, 0, 90)
    red = grey * (0.6, 0.6, 0.6) + (34.3, 0, 0)  # as bright as the blue
    first, second = (Image.fromarray(np.rint(c).astype(np.uint8)) for c in (blue, red))
    small = second.resize((19, 19), Image.Resampling.LANCZOS)
    assert reproduced_by(first, small) == resize_recompress.RESIZED  # only grey images are compared
    assert pairs_among([first, small, first.resize((25, 25))]) == {(0, 2)}


def test_faint_images_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(3).normal(0, 1, (2, 48, 48))
    ramps = np.linspace(100, 116, 48)[:, None] + noise
    first, second = (Image.fromarray(np.rint(pixels).astype(np.uint8)) for pixels in ramps)
    compressed = recompressed(second, 15)
    assert reproduced_by(second, compressed) == 0
    assert pairs_among([first, compressed]) == set()
    faint = replace(DEFAULT.reproduction, min_contrast=0)
    monkeypatch.setattr(resize_recompress, "_REPRODUCTION", faint)
    assert pairs_among([first, compressed]) == {(0, 1)}  # of different images


def test_resized_and_recompressed_digits_are_found_and_described(tmp_path: Path) -> None:
    index = read_index(fetch("mnist5k", tmp_path / "digits"))
    images = {}
    for path in index.table["path"][500:900]:  # ones, the most alike of all digits
        images[str(path)] = Image.open(index.root / str(path))
    copies = {}
    for number, (path, image) in enumerate(list(images.items())[::10]):
        factor = (17 / 28, 25 / 28)[number % 2]
        size = round(image.width * factor), round(image.height * factor)
        copies[f"resized {path}"] = image.resize(size, Image.Resampling.LANCZOS)
        copies[f"recompressed {path}"] = recompressed(image, (30, 45)[number % 2])
    names = [*images, *copies]
    records = np.stack([fingerprint_of(image) for image in (*images.values(), *copies.values())])
    found = {
        frozenset((names[first], names[second])): (kind, evidence)
        for first, second, kind, evidence, _ in _search(records)
    }
    described = {pair: words for pair, words in found.items() if "like the other" in words[1]}
    assert len(described) >= 10
    for pair, (kind, evidence) in described.items():
        original, copy = sorted(pair, key=len)
        assert copy == f"{kind} {original}"
        assert evidence.startswith(f"if one is {kind} like the other, no place differs")
    joined = {name for cluster in connected_clusters(found) for name in cluster}
    assert len(joined & set(copies)) >= 0.98 * len(copies)
