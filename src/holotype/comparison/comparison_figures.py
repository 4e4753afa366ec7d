"""The figures of a comparison, legible for 2 to 40 classifiers and 2 to 1,000 classes.

Shape suffixes: M classifiers, K classes shown.
"""

from typing import TYPE_CHECKING

import numpy as np

from holotype.comparison.leaderboard import Leaderboard
from holotype.comparison.per_class import compare_classes
from holotype.comparison.result import Comparison
from holotype.reporting.plot_labels import plot_label, plot_labels
from holotype.reporting.plot_style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PINK,
    add_colour_bar,
    draw_estimate,
    label_matrix,
    label_rows,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 40  # classifiers or classes in one figure
MAX_NUMBERED = 14  # columns into whose cells a number fits
_COLOURS = {"test": BLUE, "oof": PINK, "val": ORANGE}
_MARKS = {"test": "o", "oof": "D", "val": "s"}


def all_figures(comparison: Comparison) -> "dict[str, Figure | None]":
    """Every figure by the name of its file; None where there is nothing to draw."""
    return {
        "leaderboard": leaderboard_figure(comparison),
        "pairs": pairs_figure(comparison.main),
        "pareto": pareto_figure(comparison),
        "classes": classes_figure(comparison.main),
    }


def leaderboard_figure(comparison: Comparison) -> "Figure":
    """Accuracy of every run with its interval, on every part, in the order of the leaderboard."""
    main = comparison.main
    order = main.order[:MAX_ROWS]
    figure, axes = new_figure(8.2, 1.3 + 0.42 * max(3, len(order)))
    parts = list(comparison.leaderboards.items())
    handles = []
    for place, (part, leaderboard) in enumerate(parts):
        offset = 0.2 * (place - (len(parts) - 1) / 2)
        colour, mark = _COLOURS[part], _MARKS[part]
        handles.append(axes.plot([], [], mark, color=colour)[0])
        accuracy_of = dict(zip(leaderboard.names, leaderboard.accuracies, strict=True))
        for row, number in enumerate(order):
            if accuracy := accuracy_of.get(main.names[number]):
                draw_estimate(axes, accuracy, row + offset, colour, mark, size=5)
    label_rows(axes, plot_labels([main.names[number] for number in order], 44))
    ranks = axes.secondary_yaxis("right")
    ranks.set_yticks(range(len(order)), [f"rank {main.rank_text(n)}" for n in order], color=GREY)
    ranks.tick_params(axis="y", length=0)
    ranks.spines["right"].set_visible(False)
    more = "" if len(order) == len(main.order) else f", the {len(order)} best of {len(main.order)}"
    axes.set_xlabel(f"accuracy with 95 % interval; ranks on {main.title.lower()}{more}")
    figure.legend(
        handles, [one.title for _, one in parts], loc="outside upper left", ncols=3, frameon=False
    )
    return figure


def pairs_figure(main: Leaderboard) -> "Figure | None":
    """Accuracy of row minus column in points, coloured where significant; None for one run."""
    from matplotlib.colors import Normalize

    order = main.order[:MAX_ROWS]
    M = len(order)
    if M < 2:
        return None
    difference_MM, significant_MM = np.zeros((M, M)), np.zeros((M, M), bool)
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            test = main.test(second, first)
            if test is not None:
                difference_MM[row, column] = 100 * test.difference
                significant_MM[row, column] = test.is_significant
    side = float(np.clip(0.62 * M, 2.6, 9.5))
    figure, axes = new_figure(side + 3.4, side + 2.4)
    most = max(1.0, float(np.abs(difference_MM).max()))
    image = axes.imshow(
        np.where(significant_MM, difference_MM, 0.0),
        cmap="PuOr_r",
        norm=Normalize(-1.6 * most, 1.6 * most),
    )
    if M <= MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(difference_MM):
            significant = significant_MM[row, column]
            points = f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"
            text = "" if row == column else points if significant else f"({points})"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8,
                color=INK if significant else GREY,
            )  # fmt: skip
    names = plot_labels([main.names[number] for number in order], 30)
    label_matrix(axes, names, names, size=float(np.clip(60 * side / M, 5, 9)))
    axes.set_title("Row minus column, points of accuracy", loc="left")
    if not significant_MM.any():
        axes.set_xlabel("no difference is significant")
    else:
        add_colour_bar(figure, axes, image, "points, where significant")
    return figure


def pareto_figure(comparison: Comparison) -> "Figure | None":
    """Accuracy over speed, or over size where speed was not measured.

    A line joins the Pareto front. None for one run, and where neither is known.
    """
    leaderboard = comparison.selection_leaderboard
    by_speed = any(one.cost.images_per_second for one in comparison.candidates)
    field = "images_per_second" if by_speed else "size_bytes"
    numbered = [
        (number, float(value))
        for number in leaderboard.order
        if (value := getattr(comparison.candidate(leaderboard, number).cost, field)) is not None
    ]
    if not numbered or len(leaderboard.aligned) == 1:
        return None
    figure, axes = new_figure(8.2, 4.6 + 0.19 * len(numbered))
    front = set(comparison.pareto_front) if by_speed else set()
    places = []
    for row, (number, value) in enumerate(numbered, start=1):
        x = value if by_speed else value / 1e6
        y, estimate = leaderboard.accuracy(number), leaderboard.accuracies[number]
        on_front = leaderboard.names[number] in front
        colour = BLUE if on_front else GREY
        axes.plot([x, x], [estimate.low or 0.0, estimate.high or 0.0], color=colour, alpha=0.35)
        axes.plot(x, y, "o", color=colour, markersize=13, markeredgecolor="white", zorder=3)
        axes.text(x, y, str(row), color="white", fontsize=8, ha="center", va="center", zorder=4)
        if on_front:
            places.append((x, y))
    places.sort()
    axes.plot(*zip(*places, strict=True), color=BLUE, linewidth=1, zorder=1) if places else None
    axes.set_xscale("log")
    axes.margins(x=0.12)
    _plain_ticks(axes)
    axes.set_xlabel("images per second" if by_speed else "size of the bundle in MB")
    axes.set_ylabel(f"accuracy on {leaderboard.title.lower()}")
    names = [
        f"{row}  {plot_label(leaderboard.names[n], 60)}"
        for row, (n, _) in enumerate(numbered, start=1)
    ]
    handles = [axes.plot([], [], " ")[0] for _ in names]
    figure.legend(
        handles, names, loc="outside lower left", ncols=1, frameon=False, fontsize=8,
        handlelength=0, handletextpad=0,
    )  # fmt: skip
    return figure


def classes_figure(main: Leaderboard) -> "Figure":
    """Recall of every class and run; of many classes those with the largest differences."""
    from matplotlib.colors import PowerNorm

    order = main.order[:MAX_ROWS]
    occurring = [compared for compared in compare_classes(main) if compared.support]
    widest = sorted(occurring, key=lambda compared: -compared.weighted_spread)[:MAX_ROWS]
    shown = sorted(widest, key=lambda compared: compared.class_number)
    recall_KM = np.array(
        [[main.per_class[m][k.class_number].recall.value or 0.0 for m in order] for k in shown]
    )
    width, height = max(2.2, 0.62 * len(order)), max(1.6, 0.34 * len(shown))
    figure, axes = new_figure(width + 4.2, height + 2.6)
    image = axes.imshow(recall_KM, cmap="Blues", norm=PowerNorm(1.6, 0, 1.15), aspect="auto")
    if len(order) <= MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(recall_KM):
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8,
                color="white" if value > 0.8 else INK,
            )  # fmt: skip
    all_names = plot_labels(main.aligned.classes, 34)
    rows = [f"{all_names[k.class_number]}  ({k.support})" for k in shown]
    columns = plot_labels([main.names[number] for number in order], 30)
    label_matrix(axes, rows, columns, size=8)
    title = "Recall in %"
    if len(shown) < len(occurring):
        title += f", {len(shown)} of {len(occurring)} classes: the largest differences"
    axes.set_title(title, loc="left")
    if len(order) > MAX_NUMBERED:
        add_colour_bar(figure, axes, image)
    return figure


def _plain_ticks(axes: "Axes") -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    steps = (1.0, 2.0, 5.0) if high / low > 20 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
