"""`holotype slice`: volumes become slices, and what was refused is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.cli.app import run


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    z, y, x = np.mgrid[-1:1:10j, -1:1:16j, -1:1:12j]
    levels = (60_000 * (z**2 + y**2 + x**2 < 0.6)).astype(np.uint16)
    for name in ("a/1", "a/2", "b/1"):
        path = tmp_path / "volumes" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, levels)
    return tmp_path / "volumes"


def test_slices_and_their_table_are_written(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = ["slice", str(volumes), "--output", str(output), "--axes", "x,z", "--size", "8"]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert "3 specimens" in captured.out
    assert f"holotype train {output / 'table.csv'}" in captured.err
    with Image.open(output / "a" / "1" / "z-0005.png") as image:
        assert image.size == (6, 8)


def test_a_refused_volume_ends_with_exit_code_1_and_the_others_are_written(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (volumes / "b" / "bad.tif").write_bytes(b"no")
    assert run(["slice", str(volumes), "--output", str(tmp_path / "out"), "--json"]) == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["volumes"] == 3
    assert list(summary["refused"]) == [str(volumes / "b" / "bad.tif")]
    assert "bad.tif" in captured.err


def test_files_that_are_no_volumes_are_named_and_no_failure(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (volumes / "README").write_text("about")
    (volumes / "a" / "preview.png").write_bytes(b"")
    assert run(["slice", str(volumes), "--output", str(tmp_path / "out")]) == 0
    assert "not used: 2 files that are no volumes, such as" in capsys.readouterr().err


def test_words_that_make_no_sense_cost_one_line(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["slice", str(volumes), "--output", str(tmp_path / "out")]
    for wrong in (["--axes", "q"], ["--window", "90", "10"], ["--every", "0"]):
        assert run([*words, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
