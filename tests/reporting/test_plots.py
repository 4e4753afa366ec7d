"""Plots that nothing is cut off from, whatever classes are called and however many there are."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from skimage import data
from sklearn.metrics import roc_auc_score

from holotype.evaluation.build_report import build_report
from holotype.reporting import plot_style, plots
from holotype.reporting.example_record import Example
from holotype.reporting.plot_labels import (
    plot_label,
    plot_labels,
    set_fonts,
    to_single_line,
    truncate_middle,
)
from tests.evaluation.made import called, made

pytestmark = pytest.mark.usefixtures("real_plots")

ODD_NAMES = (
    "_hidden from legends",
    "$\\frac{1}{2}$ costs $5",
    "ウミガメ（アオウミガメ）",
    "two\nlines\tand a tab",
    "<b>bold</b> & \"quoted\" 'twice'",
    "Chelonia mydas (Linnaeus, 1758) of the eastern Pacific, adult",
    "😀 emoji",
    "ελληνικά кириллица عربي",
)
FIGURES: dict[str, Callable[..., Figure]] = {
    "confusion": lambda predictions, report: plots.confusion_figure(report),
    "roc": plots.roc_figure,
    "reliability": plots.reliability_figure,
    "per class": lambda predictions, report: plots.per_class_figure(report),
}
LABELS = {
    "confusion": "predicted class", "roc": "true positive rate", "reliability": "accuracy",
    "per class": "recall",
}  # fmt: skip


def example(kind: str = "mistake", heatmap: bool = True, name: str = "cat") -> Example:
    image_HWC = np.ascontiguousarray(data.chelsea()[::3, ::3])
    return Example(
        id="folder/a $image$.png",
        image_HWC=image_HWC,
        overlay_HWC=255 - image_HWC if heatmap else None,
        true_class=name,
        predicted_class=name,
        confidence=0.98,
        kind=kind,
    )


def drawn(figure: Figure) -> Figure:
    """The figure, laid out; every warning is an error."""
    set_fonts(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize(
    ("num_classes", "long_names"), [(2, False), (2, True), (12, True), (100, True)]
)
def test_nothing_is_cut_off(kind: str, num_classes: int, long_names: bool, tmp_path: Path) -> None:
    predictions = made(max(300, 4 * num_classes), num_classes, weighted=num_classes == 12)
    if long_names:
        names = [f"{n} {'a very long name of a class that goes on ' * 2}"[:60] for n in range(100)]
        names[: len(ODD_NAMES)] = ODD_NAMES
        predictions = replace(predictions, classes=tuple(names[:num_classes]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = FIGURES[kind](predictions, build_report(predictions))
        plot_style.save(figure, tmp_path / "plot.png")
    pixels_HWC = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB"))
    assert max(pixels_HWC.shape) < 2300
    frame = pixels_HWC[:3], pixels_HWC[-3:], pixels_HWC[:, :3], pixels_HWC[:, -3:]
    assert all((side == 255).all() for side in frame)


@pytest.mark.parametrize("kind", ["confusion", "per class"])
@pytest.mark.parametrize("num_classes", [12, 100])
def test_names_beside_rows_do_not_overlap(kind: str, num_classes: int) -> None:
    predictions = made(5 * num_classes, num_classes)
    figure = drawn(FIGURES[kind](predictions, build_report(predictions)))
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    boxes.sort(key=lambda box: box.y0)
    for below, above in pairwise(boxes):
        assert above.y0 >= below.y1 - 2.5  # letters are lower than their boxes


@pytest.mark.parametrize("num_classes", [2, 8, 26])
def test_numbers_fit_into_the_cells_of_the_confusion_matrix(num_classes: int) -> None:
    predictions = made(3000, num_classes, weighted=True, signal=6.0)
    figure = drawn(plots.confusion_figure(build_report(predictions)))
    axes = figure.axes[0]
    cell = axes.get_window_extent().width / num_classes
    assert axes.texts
    assert max(text.get_window_extent().width for text in axes.texts) <= cell + 1


def test_many_classes_get_no_numbers() -> None:
    assert not plots.confusion_figure(build_report(made(200, 40))).axes[0].texts


def test_a_thousand_classes_are_drawn() -> None:
    predictions = made(600, 1000, signal=4.0)
    report = build_report(predictions)
    for figure in (plots.confusion_figure(report), plots.per_class_figure(report)):
        assert max(drawn(figure).bbox.size) < 2300


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize(
    "predictions",
    [
        pytest.param(called([1], [1], 2), id="one image"),
        pytest.param(called([1] * 5, [1] * 5, 2), id="one class only"),
        pytest.param(called([0, 1] * 5, [1, 0] * 5, 2), id="all wrong"),
        pytest.param(called([0, 0, 1, 1], [0, 1, 1, 2], 3), id="a class without images"),
        pytest.param(called([0] * 30, [0] * 30, 15), id="many classes without images"),
    ],
)
def test_odd_predictions_are_drawn(kind: str, predictions) -> None:  # type: ignore[no-untyped-def]
    figure = drawn(FIGURES[kind](predictions, build_report(predictions)))
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert LABELS[kind] in texts
    assert not any("nan" in text.lower() for text in texts)


@pytest.mark.parametrize("classes", [2, 4, 40])
def test_the_macro_and_the_micro_curve_are_always_drawn(classes: int) -> None:
    """The areas under the drawn lines, against those of scikit-learn."""
    predictions = made(400, classes, weighted=True)
    figure = drawn(plots.roc_figure(predictions, build_report(predictions)))
    lines = figure.axes[0].get_lines()[-2:]
    (legend,) = figure.legends
    captions = [text.get_text() for text in legend.get_texts()]
    assert [caption.split(":")[0] for caption in captions[-2:]] == ["macro", "micro"]
    truth_NC = np.eye(classes)[predictions.targets_N]
    for average, line in zip(("macro", "micro"), lines, strict=True):
        area = np.trapezoid(np.asarray(line.get_ydata()), np.asarray(line.get_xdata()))
        expected = roc_auc_score(
            truth_NC, predictions.probabilities_NC, average=average,
            sample_weight=predictions.weights_N,
        )  # fmt: skip
        assert area == pytest.approx(expected, abs=0.01)
        assert f"{expected:.3f}" in captions[-2 if average == "macro" else -1]


def test_the_pixels_of_the_confusion_matrix_are_the_shares() -> None:
    report = build_report(called([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], 2))
    image = plots.confusion_figure(report).axes[0].images[0]
    assert np.asarray(image.get_array()) == pytest.approx(np.array([[0.75, 0.25], [0, 1]]))


def test_learning_curves_draw_losses_and_accuracies_and_bear_gaps() -> None:
    history = [
        {"epoch": 0, "learning_rate": 1e-3, "train_loss": 1.0, "val_loss": 1.1},
        {"epoch": 1, "train_loss": 0.5, "val_loss": float("nan"), "val_accuracy": 0.8},
    ]
    figure = plots.learning_curves_figure(history)
    assert figure is not None
    drawn(figure)
    lines = {line.get_label() for axes in figure.axes for line in axes.get_lines()}
    assert lines == {"train loss", "validation loss", "validation accuracy"}
    assert np.asarray(figure.axes[0].get_lines()[0].get_xdata()).tolist() == [0, 1]
    assert plots.learning_curves_figure([{"epoch": 1}]) is None


def test_learning_curves_are_broken_between_stages() -> None:
    history = [{"stage": "head", "val_loss": 0.4}] + [
        {"stage": "finetune", "val_loss": 0.5 - 0.01 * n} for n in range(5)
    ]
    figure = plots.learning_curves_figure(history)
    assert figure is not None
    axes = drawn(figure).axes[0]
    drawn_epochs = [np.asarray(line.get_xdata()).tolist() for line in axes.get_lines()[:2]]
    assert drawn_epochs == [[1], [2, 3, 4, 5, 6]]
    assert [text.get_text() for text in axes.texts] == ["finetune"]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_exhibits_are_drawn_with_and_without_heatmaps(count: int) -> None:
    shown = [example(heatmap=n % 2 == 0, name=ODD_NAMES[n]) for n in range(count)]
    figure = drawn(plots.examples_figure(shown))
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == count + sum(e.overlay_HWC is not None for e in shown)


def test_plots_are_the_same_bytes_again_and_leave_no_global_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("a.png", "b.png"):
        plot_style.save(plots.confusion_figure(build_report(made(50, 3))), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_names_are_shortened_in_the_middle() -> None:
    assert truncate_middle("abcdefghij", 10) == "abcdefghij"
    assert truncate_middle("abcdefghijk", 10) == "abcde…hijk"
    assert len(truncate_middle("x" * 60, 26)) == 26
    assert to_single_line("a\nb\tc") == "a\\nb\\tc"


def test_letters_that_no_font_has_become_numbers_or_boxes() -> None:
    unknown = "\U00012000"  # a cuneiform sign
    assert plot_labels(["plain", unknown], 20) == ["plain", "class 2"]
    assert plot_label(f"a{unknown}b", 20) == "a□b"
    assert plot_labels(["$x$"], 20) == ["\\$x\\$"]
