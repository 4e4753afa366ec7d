"""Names made fit to print: shortened, on one line, in letters that the font has.

Class and file names are data. They may be sixty characters long, hold newlines, dollar signs
(mathematics to matplotlib) or letters that no installed font can draw.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ELLIPSIS = "…"
# Fonts with other scripts that a machine may have; DejaVu Sans comes with matplotlib.
_WANTED_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "PingFang SC",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Nirmala UI",
    "Leelawadee UI",
)


def to_single_line(name: str) -> str:
    """Control characters written out, so that a name cannot break a line or a table."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
        else character
        for character in name
    )


def truncate_middle(name: str, length: int) -> str:
    """At most `length` characters, on one line, without its middle: the ends tell names apart."""
    name = to_single_line(name)
    if len(name) <= length:
        return name
    head = length // 2
    return name[:head] + _ELLIPSIS + name[len(name) - (length - 1 - head) :]


def plot_labels(names: Iterable[str], length: int) -> list[str]:
    """Class names as a plot may print them: shortened, never mathematics, all letters known.

    A name of which the fonts lack a letter is printed as its number, `class 3`, counted from 1
    as in the tables of the report.
    """
    known = _known_characters()
    short = [truncate_middle(name, length) for name in names]
    return [
        _literal(name if known.issuperset(map(ord, name)) else f"class {number}")
        for number, name in enumerate(short, start=1)
    ]


def plot_label(name: str, length: int) -> str:
    """One name as a plot may print it; letters that the fonts lack become boxes."""
    known = _known_characters()
    short = truncate_middle(name, length)
    return _literal("".join(letter if ord(letter) in known else "□" for letter in short))


def set_fonts(figure: "Figure") -> None:
    """Give every text of a figure the fonts that this machine has, without global state."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontfamily(list(_fonts()))


def _literal(text: str) -> str:
    """Dollar signs are no mathematics; and a legend would leave out what begins with a _."""
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
