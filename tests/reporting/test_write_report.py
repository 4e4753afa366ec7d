"""The report on disk: one page that loads nothing, the numbers behind it, the plots."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.evaluation.build_report import build_report
from holotype.reporting.example_record import Example
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import classification_report, write_report
from tests.evaluation.made import called, made

pytestmark = pytest.mark.usefixtures("real_plots")

NASTY = "<script>alert('x')</script> & \"q\"\nline two"
CONTEXT = ReportContext(
    title=f"Cells {NASTY}",
    run_name="runs/cells-1",
    model="efficientnet_lite0",
    recipe="finetune",
    data="Electroluminescence images.",
    split_sizes={"train": 1673, "val": 295, "test": 656},
    audit=[("near-duplicates", 12, "kept on one side"), (NASTY, 1, NASTY)],
    notes=["Cells of one module may stand on both sides of the split."],
    bundle_hash="ab" * 32,
    temperature=1.25,
    command="holotype train cells --output runs/cells-1",
    published=[("Deitsch et al. 2019, VGG-19", 0.8842, "another split")],
)
HISTORY = [{"train_loss": 1 / n, "val_loss": 1.1 / n, "val_accuracy": 0.8} for n in range(1, 5)]


def examples() -> list[Example]:
    image_HWC = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    overlay_HWC = np.ascontiguousarray(image_HWC[..., ::-1])
    mistake = Example(f"a/{NASTY}.png", image_HWC, overlay_HWC, NASTY, NASTY, 0.99, "mistake")
    return [mistake, replace(mistake, kind="correct", overlay_HWC=None, id="b.png")]


class Page(HTMLParser):
    """What a browser would find: elements, what they refer to, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def sources(self) -> list[str]:
        return [str(attrs["src"]) for tag, attrs in self.elements if tag == "img"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written") / "report"
    predictions = replace(made(120, 3, weighted=True), classes=("plain", NASTY, "ウミガメ"))
    write_report(
        build_report(predictions),
        directory,
        predictions=predictions,
        context=CONTEXT,
        examples=examples(),
        history=HISTORY,
        validation=build_report(made(80, 3, seed=1), part="val"),
    )
    return directory


def test_a_report_is_a_page_numbers_a_table_and_plots(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "index.html",
        "metrics.json",
        "classification_report.txt",
        "learning_curves.png",
        "confusion_matrix.png",
        "roc.png",
        "reliability.png",
        "per_class.png",
        "confident_mistakes.png",
        "gallery.png",
    }


def test_the_page_loads_nothing_and_runs_nothing(written: Path) -> None:
    page = Page(written / "index.html")
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert page.open == []
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
    assert all(source.startswith("data:image/") for source in page.sources)
    style = (written / "index.html").read_text(encoding="utf-8").split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_images_of_the_page_are_the_plots_beside_it(written: Path) -> None:
    page = Page(written / "index.html")
    inlined = [base64.b64decode(source.split(",", 1)[1]) for source in page.sources]
    for content in inlined:
        Image.open(io.BytesIO(content)).load()
    for name in ("confusion_matrix", "roc", "reliability", "per_class", "learning_curves"):
        assert (written / f"{name}.png").read_bytes() in inlined
    # Two examples, one of them with a heatmap.
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 3


def test_names_appear_as_they_are_and_never_as_markup(written: Path) -> None:
    page = Page(written / "index.html")
    assert page.text.count(NASTY) >= 5
    assert "ウミガメ" in page.text


def test_the_page_says_what_was_measured_and_what_to_mind(written: Path) -> None:
    text = re.sub(r"\s+", " ", Page(written / "index.html").text)
    accuracy = json.loads((written / "metrics.json").read_text())["accuracy"]
    assert f"{100 * accuracy['value']:.1f} %" in text
    assert f"{100 * accuracy['low']:.1f} – {100 * accuracy['high']:.1f} %" in text
    for said in (
        "runs/cells-1 · efficientnet_lite0 · finetune",
        "of the test part",
        "the unweighted accuracy is",
        "Cells of one module may stand on both sides of the split.",
        "No groups were given",
        "Deitsch et al. 2019, VGG-19",
        "0.884",
        "train 1,673, val 295, test 656",
        "near-duplicates",
        "ab" * 32,
        "Temperature 1.250",
        "holotype train cells --output runs/cells-1",
        "with weight 0 were left out",
        "Validation",
    ):
        assert said in text, said


def test_metrics_json_is_the_report(written: Path) -> None:
    predictions = replace(made(120, 3, weighted=True), classes=("plain", NASTY, "ウミガメ"))
    found = json.loads((written / "metrics.json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(build_report(predictions).to_json()))
    assert set(found["per_class"]) == {"plain", NASTY, "ウミガメ"}


def test_the_text_report_keeps_its_columns(written: Path) -> None:
    text = (written / "classification_report.txt").read_text(encoding="utf-8")
    head, _, *rows = text.splitlines()[2:7]
    assert head.split() == ["class", "precision", "recall", "F1", "images"]
    report = build_report(made(120, 3, weighted=True))
    for row, scores in zip(rows, report.per_class, strict=True):
        assert str(scores.recall) in row
        assert row.endswith(str(scores.support))
    plain, _, wide = rows
    # East Asian letters take two columns of a terminal.
    assert len(wide) + 4 == len(plain)


def test_a_second_report_replaces_the_first_and_leaves_nothing_stale(tmp_path: Path) -> None:
    first, second = made(60, 3), called([0, 1] * 10, [0, 1] * 10, 2)
    for predictions, shown, history in ((first, examples(), HISTORY), (second, [], None)):
        write_report(
            build_report(predictions),
            tmp_path,
            predictions=predictions,
            context=ReportContext(title="t"),
            examples=shown,
            history=history,
        )
    names = {path.name for path in tmp_path.iterdir()}
    assert names.isdisjoint({"confident_mistakes.png", "gallery.png", "learning_curves.png"})
    text = Page(tmp_path / "index.html").text
    assert "No image was predicted wrongly." in text
    assert "The most confident mistakes" not in text


def test_the_same_report_is_the_same_bytes(tmp_path: Path) -> None:
    predictions = made(60, 3)
    for name in ("a", "b"):
        write_report(
            build_report(predictions), tmp_path / name, predictions=predictions, context=CONTEXT
        )
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    "predictions",
    [
        pytest.param(called([1], [1], 2), id="one image"),
        pytest.param(called([0, 0, 1, 1], [0, 1, 1, 2], 3), id="a class without images"),
        pytest.param(made(60, 3, groups=["a"] * 60), id="one group"),
        pytest.param(made(60, 30, weighted=True), id="more classes than fit"),
    ],
)
def test_odd_predictions_are_reported(tmp_path: Path, predictions) -> None:  # type: ignore[no-untyped-def]
    report = build_report(predictions)
    write_report(report, tmp_path, predictions=predictions, context=ReportContext(title="t"))
    page = Page(tmp_path / "index.html")
    assert page.open == []
    for word in ("nan", "None", "inf"):
        assert not re.search(rf"\b{word}\b", page.text)


def test_a_bare_context_prints_no_empty_sections(tmp_path: Path) -> None:
    predictions = made(200, 2, groups=[str(n % 50) for n in range(200)])
    report = build_report(predictions)
    write_report(report, tmp_path, predictions=predictions, context=ReportContext(title="t"))
    text = Page(tmp_path / "index.html").text
    for heading in (
        "Caveats", "Published results", "Learning curves", "Audit finding", "Group leakage",
        "Prediction sets", "Effect of class weighting", "Fold by fold", "Heatmaps",
    ):  # fmt: skip
        assert heading not in text
    assert "from 50 groups" in text


def test_the_text_report_shows_what_is_undefined() -> None:
    text = classification_report(build_report(called([0, 0, 1, 1], [0, 1, 1, 2], 3)))
    assert "undefined" in text
    assert "class 2" in text
