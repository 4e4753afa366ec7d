"""What all figures share: colours, axes, intervals, and how they are written.

Figures are made through matplotlib's objects, never through pyplot, so that threads and notebooks
do not share state. Lines and marks take the colours of Okabe and Ito, areas one hue.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.evaluation.intervals import Estimate
from holotype.files import atomic_write
from holotype.reporting.plot_labels import set_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

DOTS_PER_INCH = 130

# Okabe and Ito 2008, "Color Universal Design"; without yellow, which is faint on white.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, SKY, PINK = "#D55E00", "#56B4E9", "#CC79A7"
INK, GREY, FAINT = "#222222", "#8a8a8a", "#dddddd"


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
            bbox_inches="tight",  # includes whatever the layout left outside
            pad_inches=0.08,
        )


def save_all(figures: "Mapping[str, Figure | None]", directory: Path) -> dict[str, bytes]:
    """Write figures as NAME.png, and remove the file of each that is None.

    Returns:
        The PNG bytes by name.
    """
    written = {}
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            save(figure, path)
            written[name] = path.read_bytes()
    return written


def new_figure(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure with one pair of axes; inches."""
    figure, (axes,) = new_figures(width, height, 1, 1)
    return figure, axes


def new_figures(
    width: float,
    height: float,
    rows: int,
    columns: int,
    *,
    height_ratios: Sequence[float] = (),
    share_x: bool = True,
) -> "tuple[Figure, list[Axes]]":
    """A figure with a grid of axes, row by row; those of one column share their x axis, or not."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex="col" if share_x else False,
        height_ratios=height_ratios or None,
    )
    for axes in grid.ravel():
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, list(grid.ravel())


def draw_estimate(
    axes: "Axes", estimate: Estimate, y: float, colour: str, mark: str, *, size: float = 4.5
) -> None:
    """A value as a mark on a horizontal line that is its interval; nothing where undefined."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return
    axes.plot(
        [estimate.low, estimate.high], [y, y],
        color=colour, linewidth=size / 2, alpha=0.45, solid_capstyle="butt",
    )  # fmt: skip
    axes.plot(estimate.value, y, mark, color=colour, markersize=size)


def draw_diagonal(axes: "Axes") -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (3, 3)))


def label_rows(axes: "Axes", labels: Sequence[str]) -> None:
    """Rows from top to bottom instead of a y axis."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def label_matrix(axes: "Axes", rows: Sequence[str], columns: Sequence[str], size: float) -> None:
    """Names beside the rows and below the columns of a matrix."""
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    frame_matrix(axes)


def frame_matrix(axes: "Axes") -> None:
    """A faint frame instead of ticks and a grid."""
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)


def add_colour_bar(
    figure: "Figure", axes: "Axes", image: "AxesImage", label: str = "", shrink: float = 0.6
) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=shrink, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
