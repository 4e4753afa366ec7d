"""Program 2: the last line of a notebook's cell. Every result shows itself, briefly and as HTML."""

import importlib.util
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import holotype
from tests.api.programs import QUICK

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Nesting(HTMLParser):
    """Which tags there are, and whether each that opens is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_html(value: object) -> Nesting:
    page = Nesting()
    html = value._repr_html_()  # type: ignore[attr-defined]
    assert isinstance(html, str)
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.seen
    return page


class Place:
    """What a cell of the notebook has at hand."""

    def __init__(self, tmp_path: Path, data: Path, runs: list[holotype.Run]) -> None:
        self.tmp_path = tmp_path
        self.data = data
        self.run, self.other = runs
        self.image = data / "disc" / "0000.png"


CELLS: dict[str, Callable[[Place], object]] = {
    "audit": lambda at: holotype.audit(at.data, quick=True),
    "split": lambda at: holotype.split(at.data, output=at.tmp_path / "parts"),
    "train": lambda at: at.run,
    "metrics": lambda at: at.run.metrics,
    "report": lambda at: at.run.report,
    "load": lambda at: holotype.load(at.run.path),
    "evaluate": lambda at: holotype.evaluate(at.run.path, at.data),
    "predict": lambda at: holotype.predict(at.run.path, at.data / "disc"),
    "one prediction": lambda at: holotype.predict(at.run.path, at.image)[0],
    "test predictions": lambda at: at.run.predictions("test"),
    "explain": lambda at: holotype.explain(at.run.path, at.image, output=at.tmp_path / "e.png"),
    "one explanation": lambda at: holotype.load(at.run.path).explain(at.image),
    "compare": lambda at: holotype.compare([at.run.path, at.other.path], speed_images=0),
    "augment": lambda at: holotype.augment(at.data, output=at.tmp_path / "a.png", image_size=32),
    "models": lambda at: holotype.models(),
    "one model": lambda at: holotype.models("efficientnet_lite0"),
    "doctor": lambda at: holotype.doctor(),
    "recipe": lambda at: at.run.recipe,
}

TABLES = (
    "audit", "split", "metrics", "report", "evaluate", "predict", "test predictions", "explain",
    "compare", "models", "doctor",
)  # fmt: skip

IMAGES = ("one explanation", "augment")


@pytest.fixture
def place(tmp_path: Path, shapes: Path, run: holotype.Run, other_run: holotype.Run) -> Place:
    return Place(tmp_path, shapes, [run, other_run])


@pytest.mark.parametrize("cell", CELLS)
def test_a_result_says_what_it_is_in_a_few_lines(cell: str, place: Place) -> None:
    text = repr(CELLS[cell](place))
    lines = text.splitlines()
    assert 1 <= len(lines) <= 12
    assert max(map(len, lines)) <= 120
    assert " object at 0x" not in text


@pytest.mark.parametrize("cell", CELLS)
def test_a_result_is_whole_html(cell: str, place: Place) -> None:
    page = read_html(CELLS[cell](place))
    assert not {"script", "html", "body"} & page.seen


@pytest.mark.parametrize("cell", TABLES)
def test_a_table_is_a_table_and_a_frame(cell: str, place: Place) -> None:
    result = CELLS[cell](place)
    assert isinstance(result.to_frame(), pd.DataFrame)  # type: ignore[attr-defined]
    assert cell == "audit" or "table" in read_html(result).seen


@pytest.mark.parametrize("cell", IMAGES)
def test_an_image_is_shown_without_a_file_beside_the_notebook(cell: str, place: Place) -> None:
    assert 'src="data:image/png;base64,' in CELLS[cell](place)._repr_html_()  # type: ignore[attr-defined]


def test_a_run_shows_its_score_and_where_it_lies(run: holotype.Run) -> None:
    for text in (repr(run), read_html(run).text):
        assert str(run.metrics["accuracy"]) in text
        assert str(run.path) in text


def test_a_long_table_is_shown_in_part_with_its_length(
    run: holotype.Run, many_shapes: Path
) -> None:
    found = holotype.predict(run.path, many_shapes)
    assert len(found) == 420
    for text in (repr(found), read_html(found).text):
        assert "420" in text
    assert len(found._repr_html_()) < 60_000
    assert len(found.to_frame()) == 420


def test_what_a_data_set_calls_its_classes_is_no_markup(shapes: Path, tmp_path: Path) -> None:
    names = {"disc": "<b>bold</b>", "square": "a & b", "triangle": "<script>alert(1)</script>"}
    rows = [
        {"path": str(path), "label": name}
        for folder, name in names.items()
        for path in sorted((shapes / folder).iterdir())
    ]
    run = holotype.train(
        pd.DataFrame(rows), model="hog", recipe="linear", overrides=QUICK, output=tmp_path / "run"
    )
    found = run.classifier.predict(shapes)
    for result in (found, found[0], run.report, run.classifier, run.predictions("test")):
        page = read_html(result)
        assert "script" not in page.seen
        assert "b" not in page.seen
    assert "<b>bold</b>" in read_html(run.report).text


def test_a_notebook_shows_results_by_itself(
    run: holotype.Run, shapes: Path, tmp_path: Path
) -> None:
    if not (importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel")):
        pytest.skip("nbclient and ipykernel are not installed")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell(f"import holotype\nclassifier = holotype.load({str(run.path)!r})"),
        v4.new_code_cell(f"classifier.predict({str(shapes / 'disc')!r})"),
    ]
    notebook = v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    output = notebook.cells[1].outputs[-1]
    assert "<table" in output["data"]["text/html"]
    assert "Predictions" in output["data"]["text/plain"]
