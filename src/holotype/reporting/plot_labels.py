"""Class and file names as figures and tables can print them: short, on one line, in known letters.

Names may be long and hold newlines, dollar signs (mathematics to matplotlib) or letters that no
installed font has.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ELLIPSIS = "…"
# DejaVu Sans comes with matplotlib; the others have more scripts, where they are installed.
_WANTED_FONTS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC",
    "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Zen Hei", "Noto Sans Devanagari",
    "Noto Sans Thai", "Nirmala UI", "Leelawadee UI",
)  # fmt: skip


# Marks that turn the direction of what follows, so that a name reads as another.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def to_single_line(name: str) -> str:
    """Control characters as escapes, so that a name cannot break a line or a table."""
    if name.isprintable():  # so are nearly all, and pages have thousands
        return name
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in _TURNING
        else character
        for character in name
    )


def truncate_middle(name: str, length: int) -> str:
    """On one line, with an ellipsis for the middle where it is longer than `length` characters."""
    name = to_single_line(name)
    if len(name) <= length:
        return name
    head = length // 2
    return name[:head] + _ELLIPSIS + name[len(name) - (length - 1 - head) :]


def plot_labels(names: Iterable[str], length: int) -> list[str]:
    """Class names for a figure: at most `length` characters, without mathematics.

    A name with a letter that the fonts lack becomes its number, such as `class 3`, counted from 1
    as in the tables of the report.
    """
    known = _known_characters()
    short = [truncate_middle(name, length) for name in names]
    return [
        _literal(name if known.issuperset(map(ord, name)) else f"class {number}")
        for number, name in enumerate(short, start=1)
    ]


def plot_label(name: str, length: int) -> str:
    """One name for a figure; letters that the fonts lack become boxes."""
    known = _known_characters()
    short = truncate_middle(name, length)
    return _literal("".join(letter if ord(letter) in known else "□" for letter in short))


def set_fonts(figure: "Figure") -> None:
    """Set the fonts of every text of a figure to those that are installed, without global state."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontfamily(list(_fonts()))


def _literal(text: str) -> str:
    """Escape dollar signs, and a leading _, with which a legend would leave out the name."""
    return ("\u200a" if text.startswith("_") else "") + text.replace("$", r"\$")


@cache
def _fonts() -> tuple[str, ...]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _WANTED_FONTS if name in installed)


@cache
def _known_characters() -> frozenset[int]:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    files = (font_manager.findfont(name, fallback_to_default=False) for name in _fonts())
    return frozenset().union(*(FT2Font(file).get_charmap() for file in files))
