"""`holotype explain`: a PNG that shows the image with its heatmap."""

from pathlib import Path

import pytest
from PIL import Image

from holotype.cli.app import run
from tests.bundle.tiny import CLASSES, write_images, write_tiny


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 1)[0]


def test_a_heatmap_is_written_as_png(
    bundle: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "why.png"
    assert run(["explain", str(bundle), str(image), "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    with Image.open(output) as drawn:
        assert drawn.format == "PNG"
        assert len(drawn.convert("RGB").getcolors(drawn.width * drawn.height) or []) > 100


def test_two_classes_have_two_heatmaps(bundle: Path, image: Path, tmp_path: Path) -> None:
    drawn = []
    for name in CLASSES[:2]:
        output = tmp_path / f"{name}.png"
        words = ["explain", str(bundle), str(image), "--class", name, "--output", str(output)]
        assert run(words) == 0
        drawn.append(output.read_bytes())
    assert drawn[0] != drawn[1]


def test_an_unknown_class_is_answered_with_the_nearest(
    bundle: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "why.png"
    words = ["explain", str(bundle), str(image), "--class", "crac", "--output", str(output)]
    assert run(words) == 2
    assert "'crack'" in capsys.readouterr().err
    assert not output.exists()


def test_an_image_that_cannot_be_read_is_named(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    words = ["explain", str(bundle), str(tmp_path / "text.jpg"), "--output"]
    assert run([*words, str(tmp_path / "why.png")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "text.jpg" in line
