"""`holotype split`: folders for other tools, kept as long as they are of the same images."""

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.cli.app import run
from holotype.dataset.index import read_index


@pytest.fixture
def photos(synthetic: Path, tmp_path: Path) -> Path:
    """Class folders of 40 images each, one of them there twice: once larger, once as JPEG."""
    folder = tmp_path / "photos"
    shutil.copytree(synthetic, folder, ignore=shutil.ignore_patterns(".*", "*.csv"))
    first = min(folder.glob("*/*.png"))
    with Image.open(first) as image:
        image.resize((96, 96), Image.Resampling.BICUBIC).save(first.with_name("z-large.png"))
        image.save(first.with_name("z-copy.jpg"), quality=90)
    return folder


def test_a_split_is_written_once_and_kept(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert run(["split", str(photos), "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert "train 70.5%, val 14.8%, test 14.8%" in captured.out
    assert f"holotype train {output / 'table.csv'}" in captured.err
    index = read_index(output)  # split folders, as other tools read them
    assert len(index) == 122
    assert index.classes == read_index(photos).classes
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert run(["split", str(photos), "--output", str(output)]) == 0
    assert "(as it was)" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


@pytest.mark.parametrize("data_last", [False, True])
def test_a_fourth_ratio_makes_a_part_to_calibrate_sets_on(
    data_last: bool, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = ["--ratios", "0.5", "0.2", "0.2", "0.1"]
    words = [*ratios, str(photos)] if data_last else [str(photos), *ratios]
    assert run(["split", *words, "--output", str(tmp_path / "out"), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    totals = {part: sum(of_class.values()) for part, of_class in counts.items()}
    assert totals == {"train": 61, "val": 25, "test": 24, "cal": 12}
    assert read_index(tmp_path / "out" / "table.csv").part("cal").table.shape[0] == 12


def test_copies_that_the_audit_finds_stand_on_one_side(photos: Path, tmp_path: Path) -> None:
    first = min(photos.glob("*/*.png"))
    for seed in ("1", "2", "3"):
        output = tmp_path / seed
        assert run(["split", str(photos), "--output", str(output), "--seed", seed, "--link"]) == 0
        files = json.loads((output / "split.json").read_text())["images"]
        label = first.parent.name
        names = {f"{label}/{name}" for name in (first.name, "z-large.png", "z-copy.jpg")}
        assert len({row["part"] for row in files if row["path"] in names}) == 1


def test_a_split_of_before_whose_groups_are_in_another_unicode_form_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for label in "ab":
        for number in range(12):
            folder = tmp_path / "data" / label / f"é{number // 2}{label}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    words = ["split", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    words += ["--group-pattern", "parent-folder"]
    assert run(words) == 0
    file = tmp_path / "out" / "split.json"
    record = json.loads(file.read_text("utf-8"))
    for row in record["images"]:
        row["group"] = unicodedata.normalize("NFD", row["group"])
    file.write_text(json.dumps(record), "utf-8")
    capsys.readouterr()
    assert run(words) == 0
    assert "(as it was)" in capsys.readouterr().out


def test_a_stale_split_is_refused_with_the_difference_until_forced(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["split", str(photos), "--output", str(tmp_path / "out")]
    assert run(words) == 0
    min(photos.glob("*/*.png")).unlink()
    assert run(words) == 1
    error = capsys.readouterr().err
    assert "1 image removed" in error
    assert "--force" in error
    assert run([*words, "--force"]) == 0
    assert len(read_index(tmp_path / "out")) == 121


def test_a_split_that_leaks_is_refused_or_mended(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    assert run(["split", str(photos), "--output", str(given), "--seed", "1"]) == 0
    trained = min((given / "train").glob("*/*.png"))
    shutil.copy(trained, given / "test" / trained.parent.name / "leak.png")
    words = ["split", str(given), "--output", str(tmp_path / "out")]
    assert run(words) == 1
    assert "is in several parts" in capsys.readouterr().err
    assert run([*words, "--on-leak", "repair", "--json"]) == 0
    captured = capsys.readouterr()
    assert any("moved to train" in note for note in json.loads(captured.out)["notes"])
    assert len(list((tmp_path / "out" / "train").rglob("leak.png"))) == 1


def test_force_asks_before_the_work_whether_all_that_is_there_is_its_own(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    broken = min(photos.glob("*/*.png"))
    broken.write_bytes(b"")  # an audit would name it
    assert run(["split", str(photos), "--output", str(output), "--force"]) == 2
    error = capsys.readouterr().err
    assert "'mine.txt', which `holotype split` did not write" in error
    assert broken.name not in error


def test_a_part_that_stays_empty_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("a", "b"):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True)
        Image.linear_gradient("L").rotate(30 * ord(label)).save(folder / "1.png")
    words = ["split", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    for _ in range(2):  # when it is written, and when it is found
        assert run(words) == 0
        error = capsys.readouterr().err
        assert "The val part is empty: too few separate images of each class" in error
        assert "The test part is empty" in error
    words = ["split", str(tmp_path / "data"), "--output", str(tmp_path / "two")]
    assert run([*words, "--ratios", "1", "0", "0"]) == 0
    assert "is empty" not in capsys.readouterr().err


def test_several_sources_are_split_together(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "others"
    shutil.copytree(photos, other)
    words = ["split", str(photos), str(other), "--label-prefix", "--output", str(tmp_path / "out")]
    assert run([*words, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]["train"]
    assert sorted(counts) == sorted(
        f"{source.name}-{folder.name}" for source in (photos, other) for folder in photos.iterdir()
    )
    # Every image is there twice, and its two copies stand on one side.
    index = read_index(tmp_path / "out" / "table.csv")
    assert index.table.groupby("sha256")["split"].nunique().max() == 1


def test_a_split_within_its_own_data_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", str(photos), "--output", str(photos / "out")]) == 2
    assert "lie within each other" in capsys.readouterr().err
