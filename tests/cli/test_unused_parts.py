"""Of images of several pages or of more bands the first are used, and every verb says so."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.dataset.reading.csv_tables import read_csv_table
from tests.bundle.tiny import CLASSES, write_tiny
from tests.conftest import Cli

WARNING = "the file holds several frames or pages; only the first is used"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class folders of five images each; of the first class all have three pages."""
    random = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            pages = [
                Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8))
                for _ in range(3 if label == CLASSES[0] else 1)
            ]
            pages[0].save(
                tmp_path / "data" / label / f"{number}.tif", save_all=True, append_images=pages[1:]
            )
    return tmp_path / "data"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "bundle")
    return tmp_path / "bundle"


def lines_with(text: str, words: str) -> list[str]:
    return [line for line in text.splitlines() if words in line]


@pytest.mark.parametrize(
    "words", [("audit", "--quick"), ("train", "--model", "hog", "--dry-run")], ids=lambda w: w[0]
)
def test_reading_for_the_second_time_says_it_too(
    words: tuple[str, ...], data: Path, cli: Cli
) -> None:
    verb, *options = words
    for _ in range(2):
        _, _, err = cli(verb, data, *options)
        (line,) = lines_with(err, WARNING)
        first = f"'{CLASSES[0]}/0.tif', '{CLASSES[0]}/1.tif', '{CLASSES[0]}/2.tif', …"
        assert line == f"warning: 5 images: {WARNING}: {first}"


def test_the_advice_on_a_stack_of_pages_names_slice(data: Path, tmp_path: Path, cli: Cli) -> None:
    frames = [Image.new("L", (24, 24), level) for level in (9, 99)]
    frames[0].save(data / CLASSES[1] / "moving.gif", save_all=True, append_images=frames[1:])
    cli("audit", data, "--quick", "--output", tmp_path / "audit")
    rows = read_csv_table(tmp_path / "audit" / "issues.csv", expected="").rows
    advice_of = {row[0]: " ".join(row) for row in rows if WARNING in " ".join(row)}
    assert "check that this is meant" in advice_of[f"{CLASSES[1]}/moving.gif"]
    names_slice = {path for path, words in advice_of.items() if "holotype slice" in words}
    assert names_slice == {f"{CLASSES[0]}/{number}.tif" for number in range(5)}


def test_evaluate_says_it_of_images_that_are_cached(data: Path, bundle: Path, cli: Cli) -> None:
    for _ in range(2):
        code, _, err = cli("evaluate", bundle, data)
        assert code == 0
        assert len(lines_with(err, f"5 images: {WARNING}")) == 1


def test_predict_says_it_and_answers_with_it(data: Path, bundle: Path, cli: Cli) -> None:
    _, _, err = cli("predict", bundle, data)
    assert len(lines_with(err, f"5 images: {WARNING}")) == 1
    _, out, err = cli("predict", bundle, data, "--json")
    assert len(lines_with(err, f"5 images: {WARNING}")) == 1
    expected = [str(data / CLASSES[0] / f"{number}.tif") for number in range(5)]
    answer = json.loads(out)["warnings"]
    assert answer == [{"file": file, "warning": WARNING} for file in expected]


def test_explain_says_it(data: Path, bundle: Path, tmp_path: Path, cli: Cli) -> None:
    _, _, err = cli("explain", bundle, data / CLASSES[0], "--output", tmp_path / "why")
    assert len(lines_with(err, f"5 images: {WARNING}")) == 1
    page = data / CLASSES[0] / "0.tif"
    _, out, _ = cli("explain", bundle, page, "--output", tmp_path / "why.png", "--json")
    assert json.loads(out)["warnings"] == [{"file": str(page), "warning": WARNING}]
