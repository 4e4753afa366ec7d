"""`holotype explain` of several images, in several ways; and `holotype predict --heatmaps`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from holotype.cli.app import run
from holotype.dataset.atomic_directory import write_table
from tests.bundle.tiny import write_images, write_tiny


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 3)[0].parent


def test_a_folder_of_images_is_explained_in_a_folder(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "why"
    assert run(["explain", str(bundle), str(images), "--output", str(output)]) == 0
    written = sorted(path.name for path in output.iterdir())
    assert written == ["000.png", "001.png", "002.png", "explanations.csv"]
    said = capsys.readouterr().out
    assert "why/001.png" in said
    assert "method  class activation map" in said


def test_the_answer_says_which_method_was_used(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(bundle), str(images / "000.png"), "--method", "occlusion", "--json"]
    assert run([*words, "--output", str(tmp_path / "why.png")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"] == []
    (one,) = answer["explanations"]
    assert one["method"] == "occlusion map"
    assert one["sheet"] == str(tmp_path / "why.png")


def test_a_bad_image_costs_itself_only(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "bad.png").write_text("no image")
    output = tmp_path / "why"
    assert run(["explain", str(bundle), str(images), "--output", str(output)]) == 1
    assert "refused: " in capsys.readouterr().err
    assert len(list(output.glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--output", "one.png"], "is one file, and 3 images were named; name a folder"),
        (["--output", "why.pdf"], "name a file that ends in .png, or a folder"),
        (["--output", "why", "--method", "gradcam"], "name the run that it came from"),
        (["--output", "why", "--layer", "top"], "--layer top goes with --method gradcam"),
        (["--output", "why", "--similar", "3"], "--set references=true"),
        (["--output", "why", "--similar", "-1"], "expected 0 or more"),
        (["--output", "why", "--match", "x", "--layer", "top"], "leave out --class, --method"),
        (["--output", "why.png", "--match", "x"], "--match writes into a folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    bundle: Path,
    images: Path,
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["explain", str(bundle), str(images), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_no_image_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", str(bundle), "--output", str(tmp_path / "why")]) == 2
    assert "no image was named" in capsys.readouterr().err


def test_slices_are_matched_into_a_folder(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for number in range(3):
        for path in write_images(tmp_path / "sl" / f"s{number}", 2, seed=number // 2):
            rows.append((f"s{number}/{path.name}", "crack", f"s{number}"))
    write_table(tmp_path / "sl", ("path", "label", "group"), rows)
    words = ["explain", str(bundle), str(tmp_path / "sl" / "s0"), "--match", str(tmp_path / "sl")]
    assert run([*words, "--output", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "m" / "matches.csv") in said
    best = next(line for line in said.splitlines() if line.startswith("s0"))
    assert "s1" in best, "the same images under another name"
    assert "1.000" in best
    assert run([*words, "--output", str(tmp_path / "m"), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["specimens"]
    assert [other["specimen"] for other in one["ranked"]] == ["s1", "s2"]


def test_predictions_come_with_heatmaps_where_they_are_asked_for(
    bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "bad.png").write_text("no image")
    words = ["predict", str(bundle), str(images), "--json"]
    assert run(words) == 1
    plain = capsys.readouterr().out
    assert run([*words, "--heatmaps", str(tmp_path / "maps")]) == 1
    captured = capsys.readouterr()
    assert captured.out == plain, "the answers are the same"
    assert "heatmaps: 3 in " in captured.err
    assert captured.err.count("bad.png") == 1
    for number in range(3):
        with Image.open(tmp_path / "maps" / f"{number:03d}.png") as sheet:
            assert sheet.format == "PNG"
