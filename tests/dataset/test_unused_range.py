"""Images of 10 or 12 bits in 16 are told from all of them together, and read as such."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import DTypeLike, NDArray
from PIL import Image

import holotype
from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.imaging.decode import decode
from tests.conftest import Cli
from tests.imaging.test_decode import be, png


def _images(folder: Path, largest: list[int], *, depth: DTypeLike = np.uint16) -> Path:
    random = np.random.default_rng(0)
    for number, value in enumerate(largest):
        levels: NDArray[Any] = random.integers(0, value, (24, 24)).astype(depth)
        levels[0, 0] = value
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [
        ([4000, 4095, *[3000] * 8], 12, "10 images of 16 bits are read with 12 significant bits "
         "(largest value 4,095): --set bits=16 takes all 16."),
        ([1433, *[900] * 9], 12, "10 images of 16 bits are read with 12 significant bits (largest "
         "value 1,433): --set bits=16 takes all 16."),
        ([200] * 12, 8, "12 images of 16 bits are read with 8 significant bits (largest value "
         "200): --set bits=16 takes all 16."),
        ([1023, 1000], 16, "2 images of 16 bits use 1/64 of their range (largest value 1,023): "
         "only 4 grey levels of 256 are left. If they are of 10 bits, --set bits=10."),
        ([*[4095] * 20, 40000], 16, ""),
        ([65535, 60000], 16, ""),
    ],
)  # fmt: skip
def test_the_range_is_that_of_all_images(
    largest: list[int], bits: int, expected: str, tmp_path: Path, fresh_cache: Path
) -> None:
    index = read_index(_images(tmp_path / "data", largest))
    for _ in range(2):  # the second time from the cache
        found = audit(index)
        assert (found.significant_bits, found.unused_range) == (bits, expected)


def test_images_of_8_bits_have_no_unused_range(tmp_path: Path) -> None:
    found = audit(read_index(_images(tmp_path / "data", [60] * 12, depth=np.uint8)))
    assert (found.significant_bits, found.unused_range) == (16, "")


def test_no_image_is_stretched_by_itself(tmp_path: Path) -> None:
    file = _images(tmp_path / "data", [4095]) / "a" / "0.png"
    image = decode(file)
    assert image.largest == 4095
    assert np.asarray(image.pixels).max() == 16


def test_what_a_person_sets_is_taken(tmp_path: Path, fresh_cache: Path) -> None:
    index = read_index(_images(tmp_path / "data", [4095] * 12))
    assert audit(index, bits=16).significant_bits == 16
    fingerprints = compute_fingerprints(index, bits=10)
    assert fingerprints.bits == 10
    assert fingerprints.warnings["a/0.png"] == (
        "values above 1,023, the largest of 10 bits, are white",
    )
    assert (compute_fingerprints(index).records["brightest"] == 255).all()


def test_an_image_that_is_not_read_with_the_told_bits_is_unusable(
    tmp_path: Path, fresh_cache: Path
) -> None:
    folder = _images(tmp_path / "data", [4095] * 12)
    grey = np.dstack([np.full((24, 24), 4095, np.uint16), np.full((24, 24), 65535, np.uint16)])
    (folder / "a" / "alpha.png").write_bytes(png((24, 24), 16, 4, be(grey)))
    index = read_index(folder)
    for _ in range(2):  # the second time from the cache
        found = audit(index)
        assert found.significant_bits == 12
        assert [one.path for one in found.unusable] == ["a/alpha.png"]
        assert "12 significant bits are not read" in found.unusable[0].reason
    left = compute_fingerprints(index)
    assert len(left.paths) == len(left.records) == 12


def _specimens(folder: Path, *, scale: int) -> Path:
    """Rings and ramps; in steps of 1/255 of the range, so that 8 and 12 bits hold the same."""
    random = np.random.default_rng(0)
    for number in range(24):
        y, x = np.mgrid[0:48, 0:48] / 47 - random.uniform(0.3, 0.7, (2, 1, 1))
        wave = np.cos(25 * np.hypot(x, y)) if number % 2 else np.cos(25 * x)
        levels = np.rint(100 + 60 * wave + 20 * random.random((48, 48)))
        levels[0, 0] = 255
        values = np.rint(levels * (scale / 255)).astype(np.uint16 if scale > 255 else np.uint8)
        name = ("ramp", "ring")[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / name / f"{number}.png")
    return folder


def test_12_bits_in_16_are_the_same_to_every_verb_as_the_same_images_of_8_bits(
    tmp_path: Path, cli: Cli, fresh_cache: Path
) -> None:
    """The recipe, the manifest and every verb have the bits that the audit found."""
    eight = _specimens(tmp_path / "8", scale=255)
    twelve = _specimens(tmp_path / "12", scale=4095)
    run = tmp_path / "run"
    code, _, said = cli("train", twelve, "--model", "hog", "--output", run)
    assert code == 0
    assert "24 images of 16 bits are read with 12 significant bits" in said
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    manifest = json.loads((run / "bundle/manifest.json").read_text())
    assert recipe["bits"] == manifest["preprocessing"]["bits"] == 12
    assert json.loads((run / "audit/audit.json").read_text())["significant_bits"] == 12
    classifier = holotype.load(run)
    of_twelve, of_eight = classifier.predict_proba(twelve), classifier.predict_proba(eight)
    assert np.allclose(of_twelve, of_eight, atol=1e-6)
    assert len({tuple(row) for row in of_twelve}) > 20
    report = holotype.evaluate(run, eight).metrics["accuracy"].value
    assert holotype.evaluate(run, twelve).metrics["accuracy"].value == report
    overlay = np.asarray(classifier.explain(twelve / "ring/1.png", method="occlusion").overlay)
    assert overlay.max() > 100
    code, _, said = cli("train", twelve, "--recipe", run / "recipe.yaml", "--dry-run")
    assert code == 0
    assert "12 significant bits" in said
