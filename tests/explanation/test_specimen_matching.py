"""Slices of a specimen are matched with the slices that they look most like."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from holotype.dataset.atomic_directory import write_table
from holotype.errors import DatasetError, EmptyDataset
from holotype.explanation.pixel_similarity import dice_QR, ncc_QR, otsu_mask, ssim
from holotype.explanation.slice_match_report import write_matches
from holotype.explanation.specimen_matching import (
    match_specimens,
    read_reference_slices,
    read_slices,
)
from tests.bundle.tiny import CLASSES, predicted, write_tiny

SHAPES = {"disc": "ellipse", "bar": "bar", "cross": "cross"}


def draw(shape: str, z: int, offset: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One slice: a shape that grows with z, on noisy black, anywhere in the image."""
    image = Image.new("L", (120, 100))
    pen = ImageDraw.Draw(image)
    x, y = 55 + offset[0], 50 + offset[1]
    reach = 12 + 3 * z
    if shape == "disc":
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=220)
    else:
        pen.rectangle((x - reach, y - 5, x + reach, y + 5), fill=220)
        if shape == "cross":
            pen.rectangle((x - 5, y - reach, x + 5, y + reach), fill=220)
    noise = rng.normal(0, 3, (100, 120))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three specimens of each of three shapes, with four slices: what `holotype slice` leaves."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    rows = []
    for shape in SHAPES:
        for number in range(3):
            name = f"{shape}/specimen-{number}"
            (folder / name).mkdir(parents=True)
            offset = tuple(rng.integers(-15, 16, 2).tolist())
            for z in range(4):
                path = f"{name}/z-{z:04d}.png"
                draw(shape, z, offset, rng).save(folder / path)
                rows.append((path, shape, name))
    write_table(folder, ("path", "label", "group"), rows)
    return folder


def test_a_specimen_matches_others_of_its_kind_wherever_they_lie(
    scans: Path, tmp_path: Path
) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    references = read_reference_slices(scans)
    matches = match_specimens(bundle, read_slices([scans / "cross" / "specimen-1"]), references)
    (found,) = matches.specimens
    assert found.specimen == "specimen-1"
    kinds = [other.label for other in found.ranked[:3]]
    assert kinds == ["cross"] * 3
    scores = [other.score for other in found.ranked]
    assert scores == sorted(scores, reverse=True)
    images = sorted((scans / "cross" / "specimen-1").glob("*.png"))
    mean_C = predicted(bundle, images).probabilities_NC.mean(axis=0)
    assert found.class_name == CLASSES[int(mean_C.argmax())]
    assert found.probability == pytest.approx(float(mean_C.max()))


def test_a_specimen_is_never_matched_with_itself(scans: Path, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    slices = read_slices([scans])
    matches = match_specimens(bundle, slices, read_reference_slices(scans / "table.csv"))
    assert len(matches.specimens) == 9
    for one in matches.specimens:
        assert one.specimen not in {other.specimen for other in one.ranked}
        assert len(one.ranked) == 8
        assert one.ranked[0].label == one.specimen.split("/")[0]


def test_slices_are_paired_with_those_of_the_same_height(scans: Path, tmp_path: Path) -> None:
    """Of bars: a bar grows longer from slice to slice, and so thinner in its frame."""
    bundle = write_tiny(tmp_path / "bundle")
    references = read_reference_slices(scans)
    bars = [one for one in references if one.specimen == "bar/specimen-0"]
    (found,) = match_specimens(bundle, bars, references).specimens
    best = found.ranked[0]
    assert [Path(p.reference.name).name for p in best.pairs] == [
        Path(p.slice.name).name for p in best.pairs
    ]
    assert best.ssim == pytest.approx(np.mean([pair.ssim for pair in best.pairs]))


def test_all_pairs_are_in_the_table_and_the_best_on_a_sheet(scans: Path, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    references = read_reference_slices(scans)
    slices = [one for one in references if one.specimen.startswith("disc")]
    matches = match_specimens(bundle, slices, references)
    write_matches(matches, tmp_path / "matches")
    with (tmp_path / "matches" / "matches.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 8 * 4  # specimens, references, slices
    assert {row["reference_label"] for row in rows if row["rank"] == "1"} == {"disc"}
    for number in range(3):
        with Image.open(tmp_path / "matches" / f"specimen-{number:03d}.png") as sheet:
            assert sheet.height > 3 * 132
            assert len(sheet.convert("RGB").getcolors(1 << 24)) > 50
    assert len(matches.to_json()["specimens"]) == 3


def test_a_slice_that_cannot_be_read_is_left_out(scans: Path, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    folder = tmp_path / "mine"
    folder.mkdir()
    for z in (0, 1):
        image = scans / "bar" / "specimen-2" / f"z-{z:04d}.png"
        (folder / image.name).write_bytes(image.read_bytes())
    (folder / "z-0002.png").write_text("no image")
    references = [one for one in read_reference_slices(scans) if one.specimen != "bar/specimen-2"]
    (found,) = match_specimens(bundle, read_slices([folder]), references).specimens
    assert found.ranked[0].label == "bar"
    assert len(found.ranked[0].pairs) == 2
    only = [one for one in read_slices([folder]) if one.name.endswith("z-0002.png")]
    with pytest.raises(EmptyDataset, match=r"'mine': 0 slices could be read"):
        match_specimens(bundle, only, references)


def test_references_without_specimens_are_refused(scans: Path) -> None:
    with pytest.raises(DatasetError, match=r"names no specimens; expected a table"):
        read_reference_slices(_without_groups(scans))


def _without_groups(scans: Path) -> Path:
    table = scans / "plain.csv"
    lines = (scans / "table.csv").read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines), encoding="utf-8")
    return table


def _two_stacks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(1)
    first = random.random((3, 20, 20), np.float32)
    second = np.concatenate([first[:1] * 0.5 + 0.2, random.random((3, 20, 20), np.float32)])
    return first, second


def test_correlations_are_those_of_scipy() -> None:
    first, second = _two_stacks()
    expected = [[pearsonr(a.ravel(), b.ravel()).statistic for b in second] for a in first]
    found = ncc_QR(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[0, 0] == pytest.approx(1), "blind to brightness and contrast"
    assert ncc_QR(np.ones((1, 4, 4), np.float32), np.ones((1, 4, 4), np.float32)) == 0


def test_dice_is_the_f1_score_of_the_masks() -> None:
    first, second = (stack > 0.6 for stack in _two_stacks())
    expected = [[f1_score(a.ravel(), b.ravel()) for b in second] for a in first]
    np.testing.assert_allclose(dice_QR(first, second), expected)
    nothing = np.zeros((1, 4, 4), bool)
    assert dice_QR(nothing, nothing) == 1
    assert dice_QR(nothing, ~nothing) == 0


def test_structural_similarity_falls_with_noise() -> None:
    plain = np.asarray(draw("cross", 2, (0, 0), np.random.default_rng(0)), np.float32) / 255
    random = np.random.default_rng(2)
    found = [ssim(plain, plain + level * random.normal(size=plain.shape).astype(np.float32))
             for level in (0, 0.02, 0.1, 0.4)]  # fmt: skip
    assert found[0] == pytest.approx(1)
    assert found == sorted(found, reverse=True)


def test_what_is_bright_is_above_otsus_threshold() -> None:
    levels = np.full((10, 10), 0.1, np.float32)
    levels[3:6, 2:9] = 0.8
    np.testing.assert_array_equal(otsu_mask(levels), levels > 0.5)
    assert not otsu_mask(np.full((5, 5), 0.3, np.float32)).any()
