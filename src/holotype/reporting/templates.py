"""How pages are made: one file each, images inside, nothing loaded, every name escaped.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

import base64
import io
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def render(template: str, filters: dict[str, Callable[..., Any]], **values: Any) -> str:
    """A template of this package filled in; what it does not know is an error.

    The style of all pages is given to it as `style`.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    return environment.from_string(_text(template)).render(
        style=markupsafe.Markup(_text("page.css").strip()), **values
    )


def jpeg_url(image_HWC: NDArray[np.uint8], largest_side: int) -> str:
    """An image as a data URL, no side longer than so many pixels."""
    image = Image.fromarray(image_HWC)
    image.thumbnail((largest_side, largest_side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return data_url(content.getvalue(), "jpeg")


def data_url(content: bytes, kind: str) -> str:
    """An encoded image as a URL that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def thousands(number: float) -> str:
    """1234567 as 1,234,567; a fraction of an image keeps one digit."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def _text(name: str) -> str:
    return files("holotype.reporting").joinpath(name).read_text(encoding="utf-8")
