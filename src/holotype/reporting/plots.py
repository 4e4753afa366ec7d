"""The figures of a report: legible for 2 classes and for 100, in colours for every eye.

Figures are made through matplotlib's objects alone, never through pyplot, so that threads and
notebooks do not disturb each other. Lines and marks take the colours of Okabe and Ito; areas
one hue that rises in lightness.

Shape suffixes: N images, C classes, B confidence bins, K points of a curve.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.calibration import reliability_bins
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.intervals import wilson
from holotype.evaluation.report_data import ClassScores, Report
from holotype.evaluation.roc_curves import RocCurve, roc_curve
from holotype.files import atomic_write
from holotype.predictions import Predictions
from holotype.reporting.example_image import Example
from holotype.reporting.plot_labels import plot_label, plot_labels, set_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 130

# Okabe and Ito 2008, "Color Universal Design"; without yellow, which is faint on white.
BLUE, ORANGE, GREEN, RED, SKY, PINK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
INK, GREY, FAINT = "#222222", "#8a8a8a", "#dddddd"

MAX_CURVES = 12  # more lines than that are drawn thin and without names
MAX_ROWS = 40  # classes in the plot by class; beyond, the worst are shown
MAX_NUMBERED = 26  # classes for which a number fits into a cell of the confusion matrix
MAX_NAMED = 120  # classes for which a name fits beside a row


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    set_fonts(figure)
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        figure.savefig(
            temporary,
            format="png",
            metadata={"Software": None},
            bbox_inches="tight",  # whatever the layout left over the edge
            pad_inches=0.08,
        )


def confusion_figure(report: Report) -> "Figure":
    """Rows are true classes; the shade is the share of the row, the number its images."""
    from matplotlib.colors import PowerNorm

    C = len(report.classes)
    side = float(np.clip(0.62 * C, 3.0, 9.5 if C <= MAX_NUMBERED else 11.0))
    figure, axes = _new_figure(side + 3.0, side + 2.2)
    shares_CC = report.normalised_confusion_CC
    # The square root lifts rare confusions out of the white.
    image = axes.imshow(np.nan_to_num(shares_CC), cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    axes.grid(visible=False)
    axes.set_title("Confusion matrix", loc="left")
    if C <= MAX_NUMBERED:
        _number_cells(axes, report, point_size=float(np.clip(72 * side / C / 3.6, 5, 11)))
    if C <= MAX_NAMED:
        size = float(np.clip(60 * side / C, 5, 10))
        names = plot_labels(report.classes, 26 if C > 4 else 34)
        axes.set_xticks(range(C), names, rotation=90 if C > 4 else 30, fontsize=size)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("center" if C > 4 else "right")
            label.set_rotation_mode("default" if C > 4 else "anchor")
        axes.set_yticks(range(C), names, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xlabel("called")
    axes.set_ylabel("true class")
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 4 / side), pad=0.02)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def roc_figure(predictions: Predictions, report: Report) -> "Figure":
    """One curve per class against the rest."""
    figure, axes = _new_figure(7.2, 5.4)
    axes.set_title("ROC, every class against the rest", loc="left")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (3, 3)))
    curves = _curves(predictions.scorable())
    C = len(report.classes)
    names, handles = plot_labels(report.classes, 30), []
    captions = []
    for number, curve in enumerate(curves):
        if curve is None:
            continue
        many = C > MAX_CURVES
        (line,) = axes.plot(
            curve.false_positive_rate_K,
            curve.true_positive_rate_K,
            color=GREY if many else (BLUE, ORANGE, GREEN, RED, SKY, PINK)[number % 6],
            linestyle="-" if many or number < 6 else (0, (4, 1.5)),
            linewidth=0.6 if many else 1.6,
            alpha=max(0.08, min(1.0, 12 / C)),
        )
        if not many:
            handles.append(line)
            captions.append(f"{names[number]}  {report.per_class[number].roc_auc}")
    if C > MAX_CURVES and handles == []:
        mean = _mean_curve([curve for curve in curves if curve is not None])
        (line,) = axes.plot(
            mean.false_positive_rate_K, mean.true_positive_rate_K, color=BLUE, linewidth=2.2
        )
        handles.append(line)
        captions.append(f"mean over classes  {report['macro_roc_auc']}")
    axes.set_xlabel("false positive rate: others that were called so")
    axes.set_ylabel("true positive rate: found")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    if handles:
        figure.legend(
            handles,
            captions,
            loc="outside lower center",
            fontsize=8,
            frameon=False,
            ncols=1 if len(handles) <= 4 else 2,
            title="area under the curve",
            title_fontsize=8,
        )
        figure.set_size_inches(7.2, 5.4 + 0.2 * (len(handles) / (1 if len(handles) <= 4 else 2)))
    return figure


def reliability_figure(predictions: Predictions, report: Report) -> "Figure":
    """Observed accuracy over stated confidence, and below how often each was stated."""
    from matplotlib.figure import Figure

    bins = reliability_bins(predictions.scorable())
    figure = Figure(figsize=(6.4, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    _plain(axes)
    _plain(below)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (3, 3)))
    for b in np.flatnonzero(bins.count_B):
        accuracy = min(1.0, float(bins.accuracy_B[b]))
        low, high = wilson(accuracy, float(bins.count_B[b]))
        x = float(bins.confidence_B[b])
        axes.plot([x, x], [low, high], color=BLUE, linewidth=1.4, alpha=0.6)
        size = 25 + 220 * float(bins.share_B[b])
        axes.scatter([x], [accuracy], s=size, color=BLUE, zorder=3, edgecolor="white")
    error = report["expected_calibration_error"]
    axes.set_title(f"Reliability: calibration error {error}", loc="left")
    axes.set_ylabel("observed accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(-0.02, 1.02)
    widths_B = np.diff(bins.edges_B1)
    below.bar(bins.edges_B1[:-1], bins.share_B, width=widths_B * 0.92, align="edge", color=SKY)
    below.set_ylabel("share of\nimages")
    below.set_xlabel("stated confidence")
    return figure


def per_class_figure(report: Report) -> "Figure":
    """Precision, recall and F1 of every class with their intervals; the worst, where too many."""
    shown = _worst(report.per_class) if len(report.per_class) > MAX_ROWS else report.per_class
    names = dict(zip(report.classes, plot_labels(report.classes, 38), strict=True))
    figure, axes = _new_figure(7.6, 1.3 + 0.36 * max(3, len(shown)))
    marks = (("recall", BLUE, "o", -0.22), ("precision", ORANGE, "s", 0.0), ("f1", INK, "D", 0.22))
    for score_name, colour, mark, offset in marks:
        for row, scores in enumerate(shown):
            estimate = getattr(scores, score_name)
            if estimate.value is None:
                continue
            axes.plot(
                [estimate.low, estimate.high],
                [row + offset] * 2,
                color=colour,
                linewidth=2,
                alpha=0.45,
                solid_capstyle="butt",
            )
            axes.plot(estimate.value, row + offset, mark, color=colour, markersize=4.5)
    handles = [axes.plot([], [], mark, color=colour)[0] for _, colour, mark, _ in marks]
    figure.legend(
        handles, ["recall", "precision", "F1"], loc="outside upper right", ncols=3, frameon=False
    )
    axes.set_yticks(
        range(len(shown)), [f"{names[scores.name]}  ({scores.support})" for scores in shown]
    )
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(_left_end(shown) - 0.01, 1.01)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    if len(shown) < len(report.per_class):
        axes.set_xlabel(f"the {len(shown)} of {len(report.per_class)} classes with the lowest F1")
    return figure


def group_leakage_figure(found: Mapping[str, GroupLeakage]) -> "Figure":
    """For each data set the two accuracies with their intervals, one above the other."""
    figure, axes = _new_figure(7.6, 1.0 + 1.05 * len(found))
    for row, group_leakage in enumerate(found.values()):
        ways = (("random_split", RED, "s", -0.19), ("grouped_split", BLUE, "o", 0.19))
        for name, colour, mark, offset in ways:
            estimate, y = getattr(group_leakage, name), row + offset
            low, value, high = (
                100 * _number(n) for n in (estimate.low, estimate.value, estimate.high)
            )
            axes.plot(
                [low, high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt"
            )
            axes.plot(value, y, mark, color=colour, markersize=8)
            axes.annotate(
                f"{value:.0f} %", (high, y), (8, 0), textcoords="offset points",
                va="center", color=colour, fontweight="bold", annotation_clip=False,
            )  # fmt: skip
    handles = [
        axes.plot([], [], mark, color=colour)[0] for colour, mark in ((RED, "s"), (BLUE, "o"))
    ]
    named = ["groups ignored: siblings of a tested image train", "groups kept whole"]
    figure.legend(handles, named, loc="outside upper left", ncols=2, frameon=False)
    axes.set_yticks(range(len(found)), plot_labels(list(found), 34))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy out of fold, in %")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return figure


def learning_curves_figure(history: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Losses and accuracies by epoch; None where the history holds neither.

    Where rows have a `stage`, lines are broken between stages, since another part of the
    network learns from there on.
    """
    from matplotlib.figure import Figure

    keys = list(dict.fromkeys(key for row in history for key in row))
    panels = {word: [key for key in keys if word in key] for word in ("loss", "accuracy")}
    panels = {word: of_panel for word, of_panel in panels.items() if of_panel}
    if not panels:
        return None
    figure = Figure(figsize=(4.4 * len(panels), 3.4), dpi=DOTS_PER_INCH, layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    stages = _stages(history)
    # Epochs as they were counted (0 is the start), where they are counted once.
    counted = len(stages) == 1 and all("epoch" in row for row in history)
    epochs = np.array([row["epoch"] if counted else n for n, row in enumerate(history, start=1)])
    for axes, (word, of_panel) in zip(all_axes, panels.items(), strict=True):
        _plain(axes)
        for number, key in enumerate(of_panel):
            values = np.array([_number(row.get(key)) for row in history])
            validation = key.startswith("val")
            style = {
                "color": ORANGE if validation else (BLUE, GREEN, PINK)[number % 3],
                "linestyle": "-" if validation else (0, (4, 1.5)),
                "marker": "o",
                "markersize": 3.5,
            }
            for rows in stages.values():
                (line,) = axes.plot(epochs[rows], values[rows], **style)
            line.set_label(key.replace("_", " ").replace("val ", "validation "))
        axes.set_xlabel("epoch" if len(stages) == 1 else "epoch, over all stages")
        axes.set_ylabel(word)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, fontsize=8)
        for name, rows in list(stages.items())[1:]:
            axes.axvline(epochs[rows[0]] - 0.5, color=GREY, linewidth=0.8)
            place = (epochs[rows[0]] - 0.45, 0.01)
            where = axes.get_xaxis_transform()
            axes.text(*place, plot_label(name, 24), transform=where, fontsize=7, color=GREY)
    return figure


def _stages(history: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The rows of every stage, in order."""
    stages: dict[str, list[int]] = {}
    for number, row in enumerate(history):
        stages.setdefault(str(row.get("stage", "")), []).append(number)
    return stages


def examples_figure(examples: Sequence[Example]) -> "Figure":
    """Images with their heatmaps beside them, three pairs to a row."""
    from matplotlib.figure import Figure

    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.45 * rows), dpi=DOTS_PER_INCH, layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, example in zip(cells, examples, strict=False):
        wrong = example.kind == "mistake"
        called = f"{plot_label(example.predicted_class, 30)}  {example.confidence:.0%}"
        truth = f"\ntruly {plot_label(example.true_class, 30)}" if example.true_class else ""
        cell.suptitle(called + truth * wrong, fontsize=9, color=RED if wrong else INK)
        overlay_HWC = example.overlay_HWC
        images = [example.image_HWC] if overlay_HWC is None else [example.image_HWC, overlay_HWC]
        for axes, image_HWC in zip(cell.subplots(1, 2), images, strict=False):
            axes.imshow(image_HWC)
        for axes in cell.axes:
            axes.axis("off")
        cell.supxlabel(plot_label(example.id, 50), fontsize=6, color=GREY)
    return figure


def _new_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: "Axes") -> None:
    """No frame but the two axes, and a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _number_cells(axes: "Axes", report: Report, point_size: float) -> None:
    shares_CC = np.nan_to_num(report.normalised_confusion_CC)
    for (row, column), weight in np.ndenumerate(report.confusion_CC):
        if weight == 0:
            continue
        number = f"{weight:.1f}" if report.weighted else f"{weight:.0f}"
        if len(report.classes) <= 8:
            number += f"\n{shares_CC[row, column]:.0%}"
        colour = "white" if shares_CC[row, column] > 0.35 else INK
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=point_size)


def _curves(predictions: Predictions) -> list[RocCurve | None]:
    scores_NC, weights_N = predictions.probabilities_NC, predictions.weights_N
    curves = (
        roc_curve(scores_NC[:, c], predictions.targets_N == c, weights_N)
        for c in range(len(predictions.classes))
    )
    return [None if curve is None else _corners(curve) for curve in curves]


def _corners(curve: RocCurve) -> RocCurve:
    """The same line without the points inside its straight runs."""
    across_K, up_K = curve.false_positive_rate_K, curve.true_positive_rate_K
    level_K, upright_K = np.diff(up_K) == 0, np.diff(across_K) == 0
    inside_K = (level_K[:-1] & level_K[1:]) | (upright_K[:-1] & upright_K[1:])
    keep_K = np.r_[True, ~inside_K, True]
    return RocCurve(across_K[keep_K], up_K[keep_K])


def _mean_curve(curves: Sequence[RocCurve]) -> RocCurve:
    """The mean true positive rate of several curves at every false positive rate."""
    grid_K = np.linspace(0, 1, 201)
    rates = [
        np.interp(grid_K, curve.false_positive_rate_K, curve.true_positive_rate_K)
        for curve in curves
    ]
    mean_K: NDArray[np.float64] = np.mean(rates, axis=0) if rates else grid_K
    return RocCurve(np.r_[0.0, grid_K], np.r_[0.0, mean_K])


def _worst(per_class: Sequence[ClassScores]) -> list[ClassScores]:
    known = [scores for scores in per_class if scores.f1.value is not None]
    return sorted(known, key=lambda scores: scores.f1.value or 0.0)[:MAX_ROWS]


def _left_end(per_class: Sequence[ClassScores]) -> float:
    """0, or the tenth below the lowest interval where all lie in the upper half."""
    lows = [
        estimate.low
        for scores in per_class
        for estimate in (scores.recall, scores.precision, scores.f1)
        if estimate.low is not None
    ]
    lowest = math.floor(10 * min(lows, default=0.0)) / 10
    return lowest if lowest >= 0.5 else 0.0


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
