"""Every form of a comparison says the same, and opens anywhere."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.leaderboard import build_leaderboard
from holotype.comparison.selection import parse_rule, select_run
from holotype.comparison.write_comparison import write_comparison
from tests.comparison.made import answered, comparison, comparison_of, several

pytestmark = pytest.mark.usefixtures("real_plots")

FILES = {"index.html", "comparison.md", "comparison.csv", "per_class.csv", "comparison.json"}
PLOTS = {"leaderboard.png", "pairs.png", "pareto.png", "classes.png"}


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is not about them."""
    monkeypatch.setattr("holotype.comparison.comparison_figures.all_figures", lambda comparison: {})


class _Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.text += data


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_all_files_say_the_same(tmp_path: Path) -> None:
    write_comparison(comparison(), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES | PLOTS
    found = json.loads((tmp_path / "comparison.json").read_text())
    board = {row["run"]: row for row in found["parts"]["test"]["leaderboard"]}
    text = _Page((tmp_path / "index.html").read_text()).text
    markdown = (tmp_path / "comparison.md").read_text()
    for row in _rows(tmp_path / "comparison.csv"):
        if row["part"] != "test":
            continue
        accuracy = board[row["run"]]["accuracy"]["value"]
        assert float(row["accuracy"]) == accuracy
        assert f"{accuracy:.3f}" in text
        assert f"{accuracy:.3f} (" in markdown
        assert row["weighted_recall"] == row["accuracy"]
        assert row["macro_recall"] == row["balanced_accuracy"]
        for name in ("macro_precision", "weighted_precision"):
            assert float(row[name]) == board[row["run"]][name]["value"]
            assert f"{float(row[name]):.3f}" in text
    assert len(_rows(tmp_path / "per_class.csv")) == 3 * 3
    for column in ("Macro precision", "Macro recall", "Weighted precision", "Weighted recall"):
        assert column in text
        assert column in markdown
    assert found["summary"] in text
    assert found["summary"] in markdown


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    write_comparison(comparison(num_images=60, models=2), tmp_path)
    page = _Page((tmp_path / "index.html").read_text())
    assert len(page.loads) == 4
    assert all(url.startswith("data:image/") for url in page.loads)


@pytest.mark.usefixtures("no_plots")
def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    evil = "<script>x</script>|*`_a_`$x$"
    first, *others = several().values()
    found = {
        name: replace(p, classes=(evil, *p.classes[1:]))
        for name, p in {evil: first, "b": others[0]}.items()
    }
    write_comparison(
        comparison_of({"test": build_leaderboard(align_predictions(found, "test"), "test")}),
        tmp_path,
    )
    assert evil in _Page((tmp_path / "index.html").read_text()).text
    rows = (tmp_path / "comparison.md").read_text().split("### Test")[1].split("\n\n")[1]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()] == [8] * 4
    assert rows.count(r"&lt;script&gt;x&lt;/script&gt;\|\*\`\_a\_\`\$x\$") == 1


@pytest.mark.usefixtures("no_plots")
def test_disagreements_are_shown_with_their_images(tmp_path: Path) -> None:
    compared = comparison()
    one = compared.disagreements[0]
    write_comparison(compared, tmp_path, {one.id: np.zeros((40, 60, 3), np.uint8)})
    html = (tmp_path / "index.html").read_text()
    assert html.count("data:image/jpeg") == 1
    assert f'alt="{one.id}"' in html
    assert html.count("image not available") == len(compared.disagreements) - 1


@pytest.mark.usefixtures("no_plots")
def test_a_selection_is_written_for_a_backend_and_removed_when_it_is_not_asked_for(
    tmp_path: Path,
) -> None:
    compared = comparison()
    costs = [one.cost for one in compared.candidates]
    rule = parse_rule("within 90 points of the best, then fastest")
    selection = select_run(compared.leaderboards["val"], costs, rule)
    write_comparison(replace(compared, selection=selection), tmp_path)
    (selected,) = json.loads((tmp_path / "selection.json").read_text())["selections"]
    assert selected["run"] == "run 2"
    assert selected["chosen_on"] == "validation"
    assert selected["images_per_second"] == 30
    assert set(selected["accuracy"]["val"]) == {"value", "low", "high", "method"}
    write_comparison(compared, tmp_path)
    assert not (tmp_path / "selection.json").exists()


@pytest.mark.usefixtures("no_plots")
def test_what_is_undefined_is_called_so_and_is_no_zero(tmp_path: Path) -> None:
    of = build_leaderboard(answered([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]), "test")
    write_comparison(comparison_of({"test": of}), tmp_path)
    rows = {(row["class"], row["run"]): row for row in _rows(tmp_path / "per_class.csv")}
    assert rows["class 2", "a"]["recall"] == "undefined"
    assert rows["class 1", "b"]["precision"] == "undefined"
    assert rows["class 1", "b"]["recall"] == "0.0"
    text = _Page((tmp_path / "index.html").read_text()).text
    assert "undefined: no images" in text
    assert "means over classes are over the other 2" in text


@pytest.mark.parametrize(("classes", "models"), [(2, 1), (12, 12), (1000, 2)])
def test_every_size_gives_a_page_of_bounded_size(tmp_path: Path, classes: int, models: int) -> None:
    write_comparison(comparison(num_images=250, num_classes=classes, models=models), tmp_path)
    page = _Page((tmp_path / "index.html").read_text())
    assert len(page.text) < 60_000
    drawn = {file.name for file in tmp_path.glob("*.png")}
    assert drawn == (PLOTS if models > 1 else PLOTS - {"pairs.png", "pareto.png"})
    for name in drawn:
        with Image.open(tmp_path / name) as image:
            assert max(image.size) < 4000
    json.loads((tmp_path / "comparison.json").read_text())
