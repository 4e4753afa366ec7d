"""The figures of a search: history, importance, parallel coordinates and slices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.reporting.plot_labels import plot_label
from holotype.reporting.plot_style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RED,
    label_rows,
    new_figure,
    new_figures,
)
from holotype.search.search_result import Search
from holotype.search.search_space import Parameter
from holotype.search.trial_record import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIN_TRIALS = 6  # complete, for anything to be said of parameters
MAX_KEYS = 12  # in one figure
COLUMNS = 3  # of slices
MAX_LABEL = 28


def all_figures(search: Search) -> "dict[str, Figure | None]":
    """Every figure by the name of its file; None where there is too little to draw."""
    importance = parameter_importance(search)
    keys = sorted(importance, key=lambda key: -importance[key])[:MAX_KEYS]
    return {
        "history": history_figure(search),
        "importance": importance_figure(importance) if any(importance.values()) else None,
        "parallel": parallel_figure(search, keys) if keys else None,
        "slices": slices_figure(search, keys) if keys else None,
    }


def history_figure(search: Search) -> "Figure":
    """Accuracy of every trial in the order of their numbers, and the best so far."""
    figure, axes = new_figure(8.2, 3.6)
    complete = [record for record in search.records if record.state == "complete"]
    numbers = [record.number for record in complete]
    accuracies = [float(record.accuracy or 0) for record in complete]
    axes.plot(numbers, accuracies, "o", color=BLUE, markersize=4, label="complete")
    axes.step(
        numbers, np.maximum.accumulate(accuracies), where="post", color=ORANGE, label="best so far"
    )
    pruned = [r for r in search.records if r.state == "pruned" and r.epochs]
    if pruned:
        best = [max(record.epochs) for record in pruned]
        axes.plot(
            [record.number for record in pruned], best, "x", color=GREY, markersize=5,
            label="pruned: its best epoch",
        )  # fmt: skip
    failed = [record.number for record in search.records if record.state == "failed"]
    if failed:
        axes.plot(failed, [min(accuracies)] * len(failed), "|", color=RED, label="failed")
    default = search.records[0]
    if default.accuracy is not None:
        axes.axhline(default.accuracy, color=INK, linewidth=1, linestyle=(0, (3, 3)),
                     label="default recipe")  # fmt: skip
    axes.set_xlabel("trial")
    axes.set_ylabel("accuracy on validation")
    axes.legend(frameon=False, fontsize=8, loc="best")
    return figure


def parameter_importance(search: Search) -> dict[str, float]:
    """The share of the variance of accuracy that each key explains; empty for too few trials.

    Between the values of a key, or the thirds of a range; a key that some trials lack is judged
    among those that have it. Each key by itself: shares do not sum to 1, and what two keys do only
    together is not seen.

    Source:
        Kelley 1935, epsilon squared: the correlation ratio without what chance would explain.
    """
    complete = _drawn_trials(search)
    if len(complete) < MIN_TRIALS or len({record.accuracy for record in complete}) < 2:
        return {}
    found = {}
    for row in _rows(search):
        having = [record for record in complete if _has_place(row, record)]
        codes_N = _positions(row, having)
        if len(having) >= MIN_TRIALS and len(np.unique(codes_N)) > 1:
            accuracy_N = np.array([record.accuracy for record in having], float)
            found[row.key] = _explained(codes_N, accuracy_N, is_range=row.choices is None)
    return found


def _explained(
    codes_N: NDArray[np.float64], accuracy_N: NDArray[np.float64], *, is_range: bool
) -> float:
    """The share of variance between the values of one key, or the thirds of a range.

    Args:
        is_range: whether values that are near each other are alike; choices have no order.
    """
    values = np.unique(codes_N)
    if is_range and len(values) > 4:
        edges = np.quantile(codes_N, [1 / 3, 2 / 3])
        codes_N = np.digitize(codes_N, edges).astype(float)
        values = np.unique(codes_N)
    total, count = float(accuracy_N.var()), len(accuracy_N)
    if not total or count <= len(values):
        return 0.0
    means = [(accuracy_N[codes_N == value].mean(), (codes_N == value).mean()) for value in values]
    explained = sum(share * (mean - accuracy_N.mean()) ** 2 for mean, share in means) / total
    return max(0.0, 1 - float(1 - explained) * (count - 1) / (count - len(values)))


def importance_figure(importance: dict[str, float]) -> "Figure":
    """A bar for every key, the most important first."""
    keys = sorted(importance, key=lambda key: -importance[key])[:MAX_KEYS]
    figure, axes = new_figure(8.2, 0.9 + 0.34 * len(keys))
    axes.barh(range(len(keys)), [importance[key] for key in keys], color=BLUE, height=0.6)
    label_rows(axes, [plot_label(key, MAX_LABEL) for key in keys])
    axes.set_xlabel("share of the variance of accuracy")
    axes.set_xlim(0, max(0.05, 1.05 * max(importance.values())))
    return figure


def parallel_figure(search: Search, keys: Sequence[str]) -> "Figure":
    """A line for every complete trial through the values that it drew; the best are dark."""
    rows = {row.key: row for row in _rows(search)}
    shown = keys[:8]
    figure, axes = new_figure(8.2, 4.2)
    records = sorted(_drawn_trials(search), key=lambda record: record.rank, reverse=True)
    rank = np.linspace(0, 1, max(2, len(records)))
    for place, record in enumerate(records):
        heights = [_height(rows[key], record, search) for key in shown]
        known = [(x, y) for x, y in enumerate(heights) if y is not None]
        best = record.number == search.winner.number
        axes.plot(
            [x for x, _ in known], [y for _, y in known],
            color=ORANGE if best else BLUE, alpha=1.0 if best else 0.08 + 0.5 * rank[place] ** 3,
            linewidth=2.2 if best else 1, zorder=3 if best else 2,
        )  # fmt: skip
    axes.set_xticks(
        range(len(shown)), [plot_label(key, 22) for key in shown], rotation=20, ha="right",
        fontsize=8,
    )  # fmt: skip
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    axes.set_xlim(-0.4, len(shown) - 0.6)
    for x, key in enumerate(shown):
        axes.axvline(x, color=GREY, linewidth=0.6, zorder=1)
        for y, text in _ends(rows[key]):
            axes.text(x + 0.03, y, text, fontsize=7, color=INK, va="center")
    return figure


def slices_figure(search: Search, keys: Sequence[str]) -> "Figure":
    """Accuracy against every key, one after the other."""
    rows = {row.key: row for row in _rows(search)}
    height = -(-len(keys) // COLUMNS)
    figure, grid = new_figures(8.2, 2.4 * height, height, COLUMNS, share_x=False)
    for axes, key in zip(grid, keys, strict=False):
        _draw_slice(axes, rows[key], _drawn_trials(search))
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    return figure


def _draw_slice(axes: "Axes", row: Parameter, records: Sequence[TrialRecord]) -> None:
    having = [record for record in records if _has_place(row, record)]
    positions_N = _positions(row, having)
    axes.scatter(
        positions_N, [float(record.accuracy or 0) for record in having],
        c=[record.number for record in having], cmap="viridis_r", s=14,
    )  # fmt: skip
    axes.set_title(plot_label(row.key, MAX_LABEL), fontsize=8)
    axes.tick_params(labelsize=7, labelbottom=True)
    if row.choices is not None:
        labels = [plot_label(str(choice), 12) for choice in row.choices]
        axes.set_xticks(range(len(labels)), labels, rotation=20)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif row.log:
        ticks = sorted({round(float(x)) for x in np.linspace(*_log_ends(row), 4)})
        axes.set_xticks(ticks, [f"{10.0**tick:g}" for tick in ticks])


def _log_ends(row: Parameter) -> tuple[float, float]:
    return float(np.log10(row.low or 1)), float(np.log10(row.high or 1))


def _drawn_trials(search: Search) -> list[TrialRecord]:
    """The complete trials that drew something: all but the default recipe."""
    return [r for r in search.records if r.state == "complete" and r.params]


def _rows(search: Search) -> list[Parameter]:
    """One row for every key, the widest of those that share it."""
    merged: dict[str, Parameter] = {}
    for row in search.space.searched:
        known = merged.get(row.key)
        if known is None:
            merged[row.key] = row
        elif known.choices is None and row.choices is None:
            low, high = min(known.low or 0, row.low or 0), max(known.high or 0, row.high or 0)
            merged[row.key] = known.model_copy(update={"low": low, "high": high})
    return list(merged.values())


def _has_place(row: Parameter, record: TrialRecord) -> bool:
    """Whether a trial has a value on the axis of a row.

    A range has no place for the null that another row of its key may fix, such as the gamma of a
    linear kernel.
    """
    if row.key not in record.params:
        return False
    return row.choices is not None or record.params[row.key] is not None


def _position(row: Parameter, value: Any) -> float:
    """Of a value on the axis of its row."""
    if row.choices is not None:
        return float(row.choices.index(value)) if value in row.choices else -1.0
    return float(np.log10(value)) if row.log else float(value)


def _positions(row: Parameter, records: Sequence[TrialRecord]) -> NDArray[np.float64]:
    return np.array([_position(row, record.params[row.key]) for record in records], float)


def _height(row: Parameter, record: TrialRecord, search: Search) -> float | None:
    """Of a value between 0 and 1."""
    if not _has_place(row, record):
        return None
    value = _position(row, record.params[row.key])
    if row.choices is not None:
        return value / max(1, len(row.choices) - 1)
    low, high = _log_ends(row) if row.log else (float(row.low or 0), float(row.high or 0))
    return (value - low) / (high - low)


def _ends(row: Parameter) -> list[tuple[float, str]]:
    """What stands beside the axis of a row."""
    if row.choices is not None:
        steps = max(1, len(row.choices) - 1)
        return [(n / steps, plot_label(str(c), 14)) for n, c in enumerate(row.choices)]
    return [(0.0, f"{row.low:g}"), (1.0, f"{row.high:g}")]
