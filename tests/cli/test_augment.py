"""`holotype augment`: a PNG with what the network will see."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.cli.app import run

SMALL = ("--image-size", "48", "--images", "3")


def test_the_sheet_is_written_and_is_the_same_twice(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "new" / name for name in ("a.png", "b.png", "c.png")]
    for file, seed in zip(files, ("1", "1", "2"), strict=True):
        words = ["augment", str(synthetic), "--output", str(file), *SMALL, "--seed", seed]
        assert run(words) == 0
    said = capsys.readouterr()
    assert "finetune" in said.out
    assert str(files[0]) in said.out
    assert "Next: holotype train" in said.err
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    with Image.open(files[0]) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 112  # four views and the names
        assert len(np.unique(np.asarray(sheet.convert("L")))) > 100


def test_more_views_and_mixing_make_more_columns(synthetic: Path, tmp_path: Path) -> None:
    widths = []
    for more in (
        [],
        ["--set", "stages.1.views=6"],
        ["--set", "stages.1.views=6", "--set", "stages.1.mixup={probability: 0.5, alpha: 0.4}"],
    ):
        file = tmp_path / "sheet.png"
        assert run(["augment", str(synthetic), "--output", str(file), *SMALL, *more]) == 0
        with Image.open(file) as sheet:
            widths.append(sheet.width)
    assert widths[0] < widths[1] < widths[2]


def test_a_broken_image_is_passed_by(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    for source in sorted(synthetic.glob("[!.]*/*.*"))[::20]:
        target = folder / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    broken = sorted(folder.glob("*/*"))[0]
    broken.write_bytes(b"no image")
    assert run(["augment", str(folder), "--output", str(tmp_path / "s.png"), *SMALL]) == 0
    assert broken.name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--output", "sheet.jpg"], "must end in .png"),
        (["--output", "sheet.png", "--images", "0"], "expected 1 to 100"),
        (["--output", "sheet.png", "--recipe", "linear"], "shows every image as it is"),
        (["--output", "sheet.png", "--stage", "finetun"], "did you mean 'finetune'"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["augment", str(synthetic), *more]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))
