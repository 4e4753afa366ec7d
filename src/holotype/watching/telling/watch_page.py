"""The report of watching as one HTML page: nothing loaded, every name escaped."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from holotype.errors import ImageError
from holotype.files import write_text
from holotype.imaging.decode import decode
from holotype.reporting.plot_style import BLUE, DOTS_PER_INCH, GREY, RED, new_figure
from holotype.reporting.templates import jpeg_url, plot_image, render
from holotype.watching.telling.messages import naming, sentence
from holotype.watching.watch_status import WatchStatus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SIDE_PX = 240
SHOWN_TESTS = 12


def write_page(path: Path, status: WatchStatus, log: Path) -> None:
    """Write the page."""
    figure = evidence_figure(status)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    changes = status.changes
    write_text(
        path,
        render(
            "watch.html.j2",
            status=status,
            sentence=sentence(status),
            naming=naming(status),
            plot_images={"evidence": plot_image(content.getvalue())},
            tests=list(changes.get("tests", ()))[:SHOWN_TESTS],
            classes=changes.get("classes", ()),
            cards=[(each, _image_url(log, each["file"])) for each in changes.get("images", ())],
        ),
    )


def evidence_figure(status: WatchStatus) -> "Figure":
    """The evidence of a change, window by window."""
    figure, axes = new_figure(8.0, 2.8)
    numbers = [window.number for window in status.windows]
    evidence = np.array([window.evidence for window in status.windows])
    axes.plot(numbers, evidence, color=BLUE, marker=".")
    axes.axhline(1, color=RED, linewidth=1)
    if len(evidence):
        axes.set_ylim(0, max(1.15, min(3.0, float(evidence.max()) * 1.1)))
    axes.set_xlabel("window")
    axes.set_ylabel("evidence")
    axes.set_title("Evidence of a change; 1 is an alarm", loc="left", color=GREY)
    return figure


def _image_url(log: Path, file: str) -> str | None:
    """An image that the log keeps; None where it does not, or not any more."""
    if not file:
        return None
    try:
        image = decode(log / file, tolerate_truncated=True)  # to be seen, not to be judged
    except (ImageError, OSError):
        return None
    return jpeg_url(np.asarray(image.pixels.convert("RGB")), MAX_SIDE_PX)
