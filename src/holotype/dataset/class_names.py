"""Compare the names of classes by their form: Unicode normalisation, letter case and blanks."""

import unicodedata
from collections.abc import Iterable

from holotype.dataset.safe_filenames import collision_key

# Lower-case Cyrillic and Greek letters that print as Latin ones.
_LOOK_ALIKES = str.maketrans("асеорхуіјѕο", "aceopxyijso")


def class_name(text: str) -> str:
    """The name in the Unicode form NFC, so that names of macOS and of others are equal."""
    return unicodedata.normalize("NFC", text)


def similar_class_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Sets of two or more names that differ in letter case, blanks or look-alike letters only."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_look(name), []).append(name)
    return [tuple(found) for found in alike.values() if len(found) > 1]


def exact_name(name: str) -> str:
    """The name in quotes; with the code points of its letters beyond ASCII."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def _look(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")  # zero-width characters
    return collision_key(" ".join(visible.split())).translate(_LOOK_ALIKES)
