"""Small images of which one is the other, resized or recompressed: told by doing it again."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from holotype.dataset.fingerprints import fingerprint
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates import recompression
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.duplicate_clusters import connected_clusters
from holotype.dataset.near_duplicates.search import _search
from holotype.dataset.near_duplicates.thresholds import DEFAULT
from holotype.dataset.near_duplicates.verification import PairMeasurements
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
    """A handwritten digit, enlarged, with some grain, so that it has details to lose."""
    pixels = load_digits().images[number].astype(np.uint8) * 15
    grain = np.random.default_rng(number).integers(0, 12, (size, size), np.uint8)
    enlarged = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    return Image.fromarray(np.minimum(np.asarray(enlarged), 240) + grain)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def remembered(image: Image.Image) -> NDArray[np.void]:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return fingerprint(decode(stream.getvalue(), name="x.png"))


def told(first: Image.Image, second: Image.Image) -> int:
    """What was done to get one of the two from the other, as `measure_reproductions` says;
    0 if nothing."""
    records = np.stack([remembered(image) for image in (first, second)])
    zero = np.zeros(1, np.int64)
    found = Candidates.from_transforms(zero, zero + 1, zero)
    measured = recompression.measure_reproductions(
        records, found, PairMeasurements.unmeasured(found), zero
    )
    return int(measured.reproduced_by_N[0])


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("size", [(15, 15), (19, 23), (25, 25), (41, 37), (90, 75)])
def test_a_resized_image_is_told_by_its_filter(name: str, size: tuple[int, int]) -> None:
    original = digit(3)
    assert told(original, original.resize(size, PILLOW[name])) == recompression.RESIZED
    assert told(original.resize(size, PILLOW[name]), original) == recompression.RESIZED
    assert told(original, digit(13).resize(size, PILLOW[name])) == 0  # another three


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(15, 15), (23, 19), (41, 37)])
def test_an_image_resized_without_antialiasing_is_told(mode: str, size: tuple[int, int]) -> None:
    pixels = torch.from_numpy(np.asarray(digit(5), np.float32))[None, None]
    resized = torch.nn.functional.interpolate(pixels, size, mode=mode)[0, 0]
    image = Image.fromarray(resized.round().clamp(0, 255).to(torch.uint8).numpy())
    assert told(digit(5), image) == recompression.RESIZED


@pytest.mark.parametrize("quality", [20, 37, 50, 63, 75, 88, 95])
def test_a_recompressed_image_is_told_by_its_quality(quality: int) -> None:
    original = digit(7)
    assert told(original, recompressed(original, quality)) == recompression.RECOMPRESSED
    assert told(original, recompressed(digit(17), quality)) == 0


def test_a_recompressed_jpeg_and_an_image_in_colour_are_told() -> None:
    original = Image.merge("RGB", [digit(2), digit(2), digit(2)])
    first = recompressed(original, 90)
    assert told(first, recompressed(first, 45)) == recompression.RECOMPRESSED


def test_what_is_too_large_to_be_remembered_whole_is_not_guessed() -> None:
    large = digit(3, size=200)
    assert told(large, large.resize((150, 150), Image.Resampling.BICUBIC)) == 0
    assert told(large, recompressed(large, 40)) == 0


def pairs_among(images: list[Image.Image]) -> set[tuple[int, int]]:
    found = _search(np.stack([remembered(image) for image in images]))
    return {(min(pair[:2]), max(pair[:2])) for pair in found}


def test_another_colour_is_no_copy_though_the_grey_is_resized() -> None:
    grey = np.asarray(digit(4), np.float32)[..., None]
    blue = grey * (0.6, 0.6, 0.6) + (0, 0, 90)
    red = grey * (0.6, 0.6, 0.6) + (34.3, 0, 0)  # as bright as the blue
    first, second = (Image.fromarray(np.rint(c).astype(np.uint8)) for c in (blue, red))
    small = second.resize((19, 19), Image.Resampling.LANCZOS)
    assert told(first, small) == recompression.RESIZED  # grey is all that it looks at
    assert pairs_among([first, small, first.resize((25, 25))]) == {(0, 2)}


def test_of_what_is_faint_compression_leaves_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(3).normal(0, 1, (2, 48, 48))
    ramps = np.linspace(100, 116, 48)[:, None] + noise
    first, second = (Image.fromarray(np.rint(pixels).astype(np.uint8)) for pixels in ramps)
    compressed = recompressed(second, 15)
    assert told(second, compressed) == 0
    assert pairs_among([first, compressed]) == set()
    faint = replace(DEFAULT.reproduction, min_contrast=0)
    monkeypatch.setattr(recompression, "_REPRODUCTION", faint)
    assert pairs_among([first, compressed]) == {(0, 1)}  # of two different ones


def test_digits_that_compression_hides_are_found_and_said_how(tmp_path: Path) -> None:
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
    records = np.stack([remembered(image) for image in (*images.values(), *copies.values())])
    found = {
        frozenset((names[first], names[second])): (kind, evidence)
        for first, second, kind, evidence, _ in _search(records)
    }
    told = {pair: words for pair, words in found.items() if "like the other" in words[1]}
    assert len(told) >= 10
    for pair, (kind, evidence) in told.items():
        original, copy = sorted(pair, key=len)
        assert copy == f"{kind} {original}"
        assert evidence.startswith(f"if one is {kind} like the other, no place differs")
    joined = {name for cluster in connected_clusters(found) for name in cluster}
    assert len(joined & set(copies)) >= 0.98 * len(copies)
