"""How results show themselves in a notebook, and how they become data frames."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from PIL import Image

from holotype.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 20  # of an HTML table; of a longer one the first and last ten are shown
MAX_TEXT = 120  # characters of a cell, and of a line of a `repr`


def html_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = ""
) -> str:
    """An HTML table with everything escaped; a longer one than 20 rows is cut in its middle.

    Args:
        rows: numbers are written with four significant digits, None as nothing.
        caption: what the table is, in one line; the number of rows is added where it is cut.
    """
    half = MAX_ROWS // 2
    if len(rows) > MAX_ROWS:
        gap = [["…"] * len(header)]
        shown = [*rows[:half], *gap, *rows[-half:]]
        caption = f"{caption} ({MAX_ROWS} of {len(rows)} rows)".strip()
    else:
        shown = list(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in shown
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_result(title: str, *parts: str, notes: Sequence[str] = ()) -> str:
    """The title of a result, its ready HTML, and a paragraph for each note."""
    paragraphs = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<div><p><strong>{escape(title)}</strong></p>{''.join(parts)}{paragraphs}</div>"


def html_image(image: Image.Image, *, alt: str = "") -> str:
    """An `<img>` that holds its pixels as a PNG, so that no file lies beside the notebook."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def shorten(text: str, width: int = MAX_TEXT) -> str:
    """The text on one line, without its end where it is longer than `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def data_frame(columns: Mapping[str, Sequence[Any]]) -> "pd.DataFrame":
    """A pandas DataFrame of these columns.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtra(
            "to_frame() needs pandas, which is not installed: pip install 'holotype[train]'."
        ) from None
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _cell(value: object) -> str:
    if value is None:
        return ""
    return shorten(f"{value:.4g}" if isinstance(value, float) else str(value))
