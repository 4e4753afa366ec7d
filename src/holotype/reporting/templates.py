"""Render the templates of pages and cards: number formats, images as data URLs, escaping.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

import base64
import io
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from holotype.evaluation.intervals import Estimate
from holotype.reporting.plot_labels import to_single_line

PIXELS_PER_POINT = 1.45  # of a figure on a page: more than it shows, for sharp screens


def render(
    template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any
) -> str:
    """Fill in a template of this package.

    It has the filters below, the style of all pages as `style`, and escapes all values as HTML; an
    unknown name is an error.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        thousands=thousands, fixed=fixed, signed=signed, interval=interval, zip=zip,
        md=escape_markdown, **(filters or {}),
    )  # fmt: skip
    return environment.get_template(template).render(
        style=markupsafe.Markup(_text("page.css").strip()), **values
    )


def thousands(number: float) -> str:
    """1234567 as 1,234,567; a number that is not whole with one digit."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def fixed(value: float | None) -> str:
    """Three digits; a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Three digits with the sign; a dash for None."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def interval(estimate: Estimate) -> str:
    """The ends of the interval; "" where it is undefined."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f} – {estimate.high:.3f}"


def escape_markdown(text: str) -> str:
    """Any text on one line, without Markdown or HTML that would be interpreted."""
    from markupsafe import Markup

    line = to_single_line(text).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", line)
    # What would begin a list or a heading.
    line = re.sub(r"^([-+=])", r"\\\1", line)
    return Markup(re.sub(r"^(\d+)([.)])", r"\1\\\2", line))


def plot_image(png: bytes) -> dict[str, Any]:
    """A figure as a data URL, and the width at which its text is as large as that of the page."""
    width = Image.open(io.BytesIO(png)).width
    return {"url": data_url(png, "png"), "width": round(width / PIXELS_PER_POINT)}


def jpeg_url(image_HWC: NDArray[np.uint8], largest_side: int) -> str:
    """An image as a data URL, scaled down to at most `largest_side` pixels."""
    image = Image.fromarray(image_HWC)
    image.thumbnail((largest_side, largest_side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return data_url(content.getvalue(), "jpeg")


def data_url(content: bytes, kind: str) -> str:
    """An encoded image as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _text(name: str) -> str:
    return files("holotype.reporting").joinpath(name).read_text(encoding="utf-8")
