"""Compare the names of classes by their form: Unicode normalisation, letter case and blanks."""

import unicodedata
from collections.abc import Collection, Iterable
from itertools import permutations

from holotype.dataset.safe_filenames import collision_key
from holotype.progress import pluralize

_MAX_NAMED = 3
# Lower-case Cyrillic and Greek letters that print as Latin ones.
_LOOK_ALIKES = str.maketrans("асеорхуіјѕο", "aceopxyijso")


def class_name(text: str) -> str:
    """The name of a class or group in the Unicode form NFC; macOS writes names in another."""
    return unicodedata.normalize("NFC", text)


def blank_notes(labels: Iterable[object]) -> tuple[str, ...]:
    """A sentence that counts the labels of a table that lose the blanks around them, if any do."""
    texts = [label for label in labels if isinstance(label, str)]
    blank = [text for text in texts if text.strip() and text != text.strip()]
    if not blank:
        return ()
    merged = sorted({text.strip() for text in blank}.intersection(texts))
    first = next((text for text in blank if text.strip() in merged), blank[0])
    rest = ", as in other rows" if merged else ""
    count = pluralize(len(blank), "label")
    return (f"blanks around {count} not counted: {first!r} is {first.strip()!r}{rest}.",)


def similar_class_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Sets of two or more names that differ in letter case, blanks or look-alike letters only."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_look(name), []).append(name)
    return [tuple(found) for found in alike.values() if len(found) > 1]


def similar_class_name(name: str, classes: Collection[str]) -> str | None:
    """The first class whose name differs from another name by its form only; None without one."""
    alike = (found for found in similar_class_names({name, *classes}) if name in found)
    return next((one for found in alike for one in found if one != name), None)


def quoted_names(names: Iterable[str], beside: Iterable[str]) -> str:
    """The names in quotes; with code points where one of those beside them prints alike."""
    looks = {_look(name) for name in beside}
    return ", ".join(
        f"{name!r} ({name!a})" if _look(name) in looks and not name.isascii() else repr(name)
        for name in names
    )


def class_differences(*classes_of: tuple[str, Collection[str]]) -> str:
    """Such as ``only 'a' has 'cat'; only 'b' has 'dog'``; nothing where there are none.

    Args:
        classes_of: what each of two things is called, and its classes.
    """
    only = [(name, has, other) for (name, has), (_, other) in permutations(classes_of)]
    return "; ".join(
        f"only {name!r} has {quoted_names(rest[:_MAX_NAMED], other)}"
        f"{', …' if len(rest) > _MAX_NAMED else ''}"
        for name, has, other in only
        if (rest := sorted(set(has) - set(other)))
    )


def _look(name: str) -> str:
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")  # zero-width characters
    return collision_key(" ".join(visible.split())).translate(_LOOK_ALIKES)
