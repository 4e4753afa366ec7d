"""Images of 10 or 12 bits in 16 are told from all of them together, before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.imaging.decode import decode
from tests.conftest import Cli


def _images(folder: Path, largest: list[int], *, depth: DTypeLike = np.uint16) -> Path:
    random = np.random.default_rng(0)
    for number, value in enumerate(largest):
        levels: NDArray[Any] = random.integers(0, value, (24, 24)).astype(depth)
        levels[0, 0] = value
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ([4000, 4095, 3000], "3 images of 16 bits use 1/16 of their range (largest value 4,095): "
         "only 16 grey levels of 256 are left. Multiply all of them by 16."),
        ([1023, 1000], "2 images of 16 bits use 1/64 of their range (largest value 1,023): only "
         "4 grey levels of 256 are left. Multiply all of them by 64."),
        ([1433, 900], "2 images of 16 bits use 1/16 of their range (largest value 1,433): only "
         "16 grey levels of 256 are left. Multiply all of them by 16."),
        ([200, 180], "2 images of 16 bits use 1/256 of their range (largest value 200): only "
         "1 grey level of 256 is left. Multiply all of them by 256."),
        ([4095, 4095, 40000], ""),
        ([65535, 60000], ""),
    ],
)  # fmt: skip
def test_the_range_is_that_of_all_images(
    largest: list[int], expected: str, tmp_path: Path, fresh_cache: Path
) -> None:
    index = read_index(_images(tmp_path / "data", largest))
    for _ in range(2):  # the second time from the cache
        assert audit(index).unused_range == expected


def test_images_of_8_bits_have_no_unused_range(tmp_path: Path) -> None:
    index = read_index(_images(tmp_path / "data", [60, 50], depth=np.uint8))
    assert audit(index).unused_range == ""


def test_no_image_is_stretched_by_itself(tmp_path: Path) -> None:
    file = _images(tmp_path / "data", [4095]) / "a" / "0.png"
    image = decode(file)
    assert image.largest == 4095
    assert np.asarray(image.pixels).max() == 16


@pytest.mark.parametrize(
    "words", [("audit", "--quick"), ("train", "--model", "hog", "--dry-run")], ids=lambda w: w[0]
)
def test_audit_and_train_say_it(words: tuple[str, ...], tmp_path: Path, cli: Cli) -> None:
    verb, *options = words
    _, out, err = cli(verb, _images(tmp_path / "data", [4095, 4000] * 10), *options)
    assert "20 images of 16 bits use 1/16 of their range" in " ".join((out + err).split())
