"""`holotype fetch`: sample sets become folders, and nothing is overwritten."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from holotype.cli.app import run


def test_a_synthetic_set_has_the_classes_and_images_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "synthetic", "--classes", "3", "--images", "9", "--output"]
    assert run([*words, str(tmp_path / "shapes")]) == 0
    captured = capsys.readouterr()
    assert str(tmp_path / "shapes") in captured.out
    assert f"holotype train {tmp_path / 'shapes'}" in captured.err
    images = (tmp_path / "shapes").glob("[!.]*/*.png")
    assert list(Counter(image.parent.name for image in images).values()) == [3, 3, 3]


def test_the_same_seed_draws_the_same_images_and_another_draws_others(tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        words = ["fetch", "synthetic", "--images", "4", "--seed", seed, "--output"]
        assert run([*words, str(tmp_path / name)]) == 0
        images = sorted((tmp_path / name).glob("[!.]*/*.png"))
        drawn.append([Image.open(image).tobytes() for image in images])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_seed_for_what_is_not_drawn_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fetch", "digits", "--seed", "3", "--output", str(tmp_path / "x")]) == 2
    assert "leave out --seed" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_directory_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["fetch", "synthetic", "--output", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_set_is_answered_with_the_nearest_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fetch", "syntetic", "--output", str(tmp_path / "x")]) == 2
    assert "'synthetic'" in capsys.readouterr().err
