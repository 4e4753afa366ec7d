"""The figures of a report, legible for 2 classes and for 100.

Shape suffixes: N images, C classes, B confidence bins, K points of a curve.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.calibration import reliability_bins
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.report_data import ClassScores, Report
from holotype.evaluation.roc_curves import RocCurve, roc_curve
from holotype.predictions import Predictions
from holotype.reporting.example_record import Example
from holotype.reporting.plot_labels import plot_label, plot_labels
from holotype.reporting.plot_style import (
    BLUE,
    DOTS_PER_INCH,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PINK,
    RED,
    SKY,
    add_colour_bar,
    draw_diagonal,
    draw_estimate,
    frame_matrix,
    label_rows,
    new_figure,
    new_figures,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CURVES = 12  # more are drawn thin and without names
MAX_ROWS = 40  # classes in the figure by class; of more, those with the lowest F1
MAX_NUMBERED = 26  # classes for which a number fits into a cell of the confusion matrix
MAX_NAMED = 120  # classes for which a name fits beside a row


def confusion_figure(report: Report) -> "Figure":
    """Rows are true classes; shades are shares of the row, numbers are images or their weights."""
    from matplotlib.colors import PowerNorm

    C = len(report.classes)
    side = float(np.clip(0.62 * C, 3.0, 9.5 if C <= MAX_NUMBERED else 11.0))
    figure, axes = new_figure(side + 3.0, side + 2.2)
    shares_CC = report.normalised_confusion_CC
    # The square root lifts rare confusions out of the white.
    image = axes.imshow(np.nan_to_num(shares_CC), cmap="Blues", norm=PowerNorm(0.5, 0, 1))
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
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    frame_matrix(axes)
    add_colour_bar(figure, axes, image, "share of the true class", shrink=min(1.0, 4 / side))
    return figure


def roc_figure(predictions: Predictions, report: Report) -> "Figure":
    """One curve per class against the rest, their mean (macro), and all decisions pooled (micro).

    Source:
        Fawcett 2006, "An introduction to ROC analysis", section 9 (vertical averaging).
    """
    figure, axes = new_figure(7.2, 5.4)
    axes.set_title("ROC, every class against the rest", loc="left")
    draw_diagonal(axes)
    scorable = predictions.scorable()
    curves = _curves(scorable)
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
    averages = (
        ("macro: mean over classes", "macro_roc_auc", _mean_curve(curves), "-"),
        ("micro: all decisions together", "micro_roc_auc", _pooled_curve(scorable), (0, (1, 1))),
    )
    for name, score, average, dashes in averages:
        if average is None:
            continue
        (line,) = axes.plot(
            average.false_positive_rate_K, average.true_positive_rate_K,
            color=INK, linestyle=dashes, linewidth=2.2,
        )  # fmt: skip
        handles.append(line)
        captions.append(f"{name}  {report[score]}")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
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
    """Accuracy over confidence, and below a histogram of the confidence."""
    bins = reliability_bins(predictions.scorable())
    figure, (axes, below) = new_figures(6.4, 6.2, 2, 1, height_ratios=(3.4, 1))
    draw_diagonal(axes)
    for b in np.flatnonzero(bins.count_B):
        accuracy = bins.accuracies[b]
        x = float(bins.confidence_B[b])
        ends = [_number(accuracy.low), _number(accuracy.high)]
        axes.plot([x, x], ends, color=BLUE, linewidth=1.4, alpha=0.6)
        size = 25 + 220 * float(bins.share_B[b])
        axes.scatter([x], [float(accuracy)], s=size, color=BLUE, zorder=3, edgecolor="white")
    error = report["expected_calibration_error"]
    axes.set_title(f"Reliability: expected calibration error {error}", loc="left")
    axes.set_ylabel("accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(-0.02, 1.02)
    widths_B = np.diff(bins.edges_B1)
    below.bar(bins.edges_B1[:-1], bins.share_B, width=widths_B * 0.92, align="edge", color=SKY)
    below.set_ylabel("share of\nimages")
    below.set_xlabel("confidence")
    return figure


def per_class_figure(report: Report) -> "Figure":
    """Precision, recall and F1 of every class; of more than 40 those with the lowest F1."""
    shown = _worst(report.per_class) if len(report.per_class) > MAX_ROWS else report.per_class
    names = dict(zip(report.classes, plot_labels(report.classes, 38), strict=True))
    figure, axes = new_figure(7.6, 1.3 + 0.36 * max(3, len(shown)))
    marks = (("recall", BLUE, "o", -0.22), ("precision", ORANGE, "s", 0.0), ("f1", INK, "D", 0.22))
    for score_name, colour, mark, offset in marks:
        for row, scores in enumerate(shown):
            draw_estimate(axes, getattr(scores, score_name), row + offset, colour, mark)
    handles = [axes.plot([], [], mark, color=colour)[0] for _, colour, mark, _ in marks]
    figure.legend(
        handles, ["recall", "precision", "F1"], loc="outside upper right", ncols=3, frameon=False
    )
    label_rows(axes, [f"{names[scores.name]}  ({scores.support})" for scores in shown])
    axes.set_xlim(_left_end(shown) - 0.01, 1.01)
    if len(shown) < len(report.per_class):
        axes.set_xlabel(f"the {len(shown)} of {len(report.per_class)} classes with the lowest F1")
    return figure


def group_leakage_figure(found: Mapping[str, GroupLeakage]) -> "Figure":
    """For each data set the accuracy of a random and of a grouped split, with intervals."""
    figure, axes = new_figure(7.6, 1.0 + 1.05 * len(found))
    marks = (("random_split", RED, "s", -0.19), ("grouped_split", BLUE, "o", 0.19))
    for row, group_leakage in enumerate(found.values()):
        for name, colour, mark, offset in marks:
            estimate = getattr(group_leakage, name)
            draw_estimate(axes, estimate, row + offset, colour, mark, size=8)
            axes.annotate(
                f"{100 * _number(estimate.value):.0f} %", (_number(estimate.high), row + offset),
                (8, 0), textcoords="offset points", va="center", color=colour, fontweight="bold",
                annotation_clip=False,
            )  # fmt: skip
    handles = [axes.plot([], [], mark, color=colour)[0] for _, colour, mark, _ in marks]
    named = ["random split: images of one group on both sides", "grouped split"]
    figure.legend(handles, named, loc="outside upper left", ncols=2, frameon=False)
    label_rows(axes, plot_labels(list(found), 34))
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_xlabel("accuracy out of fold")
    return figure


def learning_curves_figure(history: Sequence[Mapping[str, Any]]) -> "Figure | None":
    """Losses and accuracies by epoch; None where the history holds neither.

    Where rows have a `stage`, lines are broken between stages.
    """
    from matplotlib.ticker import MaxNLocator

    keys = list(dict.fromkeys(key for row in history for key in row))
    panels = {word: [key for key in keys if word in key] for word in ("loss", "accuracy")}
    panels = {word: of_panel for word, of_panel in panels.items() if of_panel}
    if not panels:
        return None
    figure, all_axes = new_figures(4.4 * len(panels), 3.4, 1, len(panels))
    stages = _stages(history)
    # The numbers of the epochs (0 is before training) where there is only one stage.
    counted = len(stages) == 1 and all("epoch" in row for row in history)
    epochs = np.array([row["epoch"] if counted else n for n, row in enumerate(history, start=1)])
    for axes, (word, of_panel) in zip(all_axes, panels.items(), strict=True):
        for number, key in enumerate(of_panel):
            values = np.array([_number(row.get(key)) for row in history])
            validation = key.startswith("val")
            style: dict[str, Any] = {
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
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
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
    """Images beside their heatmaps, three pairs a row."""
    from matplotlib.figure import Figure

    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.45 * rows), dpi=DOTS_PER_INCH, layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, example in zip(cells, examples, strict=False):
        wrong = example.kind == "mistake"
        title = f"{plot_label(example.predicted_class, 30)}  {example.confidence:.0%}"
        if wrong and example.true_class:
            title += f"\ntrue class: {plot_label(example.true_class, 30)}"
        cell.suptitle(title, fontsize=9, color=RED if wrong else INK)
        overlay_HWC = example.overlay_HWC
        images = [example.image_HWC] if overlay_HWC is None else [example.image_HWC, overlay_HWC]
        for axes, image_HWC in zip(cell.subplots(1, 2), images, strict=False):
            axes.imshow(image_HWC)
        for axes in cell.axes:
            axes.axis("off")
        cell.supxlabel(plot_label(example.id, 50), fontsize=6, color=GREY)
    return figure


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
    """The same curve without the points inside its straight parts."""
    across_K, up_K = curve.false_positive_rate_K, curve.true_positive_rate_K
    level_K, upright_K = np.diff(up_K) == 0, np.diff(across_K) == 0
    inside_K = (level_K[:-1] & level_K[1:]) | (upright_K[:-1] & upright_K[1:])
    keep_K = np.r_[True, ~inside_K, True]
    return RocCurve(across_K[keep_K], up_K[keep_K])


def _mean_curve(curves: Sequence[RocCurve | None]) -> RocCurve | None:
    """The mean true positive rate of the known curves at every false positive rate."""
    grid_K = np.linspace(0, 1, 201)
    rates = [
        np.interp(grid_K, curve.false_positive_rate_K, curve.true_positive_rate_K)
        for curve in curves
        if curve is not None
    ]
    if not rates:
        return None
    mean_K: NDArray[np.float64] = np.mean(rates, axis=0)
    return RocCurve(np.r_[0.0, grid_K], np.r_[0.0, mean_K])


def _pooled_curve(predictions: Predictions) -> RocCurve | None:
    """Every decision "of this class or not" of every image in one ranking."""
    C = len(predictions.classes)
    positive_NC = predictions.targets_N[:, None] == np.arange(C)
    weights_M = np.repeat(predictions.weights_N, C)
    curve = roc_curve(predictions.probabilities_NC.ravel(), positive_NC.ravel(), weights_M)
    return None if curve is None else _corners(curve)


def _worst(per_class: Sequence[ClassScores]) -> list[ClassScores]:
    known = [scores for scores in per_class if scores.f1.value is not None]
    return sorted(known, key=lambda scores: scores.f1.value or 0.0)[:MAX_ROWS]


def _left_end(per_class: Sequence[ClassScores]) -> float:
    """0, or the tenth below the lowest interval where all are above 0.5."""
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
