"""Names that others chose reach no terminal, table, page or log as anything but text."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.dataset.reading.csv_tables import read_csv_table
from holotype.files import csv_cell, csv_text, from_csv_cell
from holotype.progress import Progress
from holotype.reporting.templates import escape_markdown
from holotype.text_tables import printable
from tests.bundle.tiny import write_images, write_tiny
from tests.conftest import Cli

FORMULAS = ("=1+1", "+x", "-x", "@sum", "\tx", "'=1", "''@", "\rx", "=1\r2")
PLAIN = ("x", "", "'", "'x", "a=b", "-"[:0], "龟", "a\rb", "a\r\nb", "a\n")
ESCAPES = "a\x1b[31mb\u202ec\nd"


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_a_csv_cell_is_no_formula_and_is_read_back_as_it_was(text: str, tmp_path: Path) -> None:
    written = csv_cell(text)
    assert not str(written).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_csv_cell(str(written)) == text
    file = tmp_path / "table.csv"
    file.write_bytes(csv_text({"path": ["x"], "name": [text]}).encode())
    table = read_csv_table(file, expected="Expected a table.")
    assert table.column("name") == [text]


def test_numbers_stay_numbers() -> None:
    assert csv_text({"value": [-0.5, -3, None]}).splitlines() == ["value", "-0.5", "-3", '""']


def test_answers_hold_no_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    classes = ("=HYPERLINK(1)", "-b", "c")
    write_tiny(tmp_path / "bundle", classes=classes)
    (image,) = write_images(tmp_path / "images", 1)
    image.rename("=1+1.png")
    found = holotype.predict("bundle", "=1+1.png", output="answers.csv")
    ((*header,), row) = csv.reader(io.StringIO(Path("answers.csv").read_text()))
    assert row[0] == "'=1+1.png"
    assert not any(cell.startswith(("=", "@")) for cell in (*header, *row))
    assert found[0].file == "=1+1.png"


def test_log_lines_are_one_line_without_escape_codes(tmp_path: Path) -> None:
    stream, log = io.StringIO(), tmp_path / "train.log"
    Progress(stream=stream, log_file=log).log(f"class {ESCAPES} is left out")
    for text in (stream.getvalue(), log.read_text()):
        assert text.count("\n") == 1
        assert printable(text) == text
        assert "\\x1b[31m" in text
        assert "\\u202e" in text


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "data"),
        ("train", "data", "--model", "hog", "--output", "run"),
        ("split", "data", "--output", "parts"),
        ("augment", "data", "--output", "sheet.png", "--image-size", "32", "--images", "2"),
        ("train", "data", "--model", ESCAPES),
        ("predict", ESCAPES, "x.png"),
    ],
)
def test_no_verb_prints_an_escape_code_of_a_name(
    words: tuple[str, ...], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in (ESCAPES, "plain", "=1+1"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "data" / ESCAPES / f"bad{ESCAPES}.png").write_bytes(b"no image")
    code, out, err = cli(*words)
    assert code in (0, 1, 2)
    assert printable(out + err) == out + err
    logs = [file.read_text() for file in tmp_path.rglob("train.log")]
    assert all(printable(text) == text for text in logs)
    if words[0] == "augment":
        assert code == 0, err


@pytest.mark.parametrize("name", ["![x](http://a.b/c.png)", "<img src=x>", "[a](javascript:1)"])
def test_markdown_of_a_name_is_inert(name: str) -> None:
    written = escape_markdown(name)
    assert "](" not in written.replace("\\]", "")
    assert "<" not in written
