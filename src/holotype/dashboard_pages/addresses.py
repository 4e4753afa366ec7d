"""What addresses and forms say: a query, marks of names, a page of a list, a directory."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

Items = TypeVar("Items", bound=Any)  # what has a length and slices: a list, or an array


def query_string(values: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Values as an address has them; what is no Unicode in the name of a file is a question mark.

    Without that one such name would take the page from all others.
    """
    pairs = values.items() if isinstance(values, Mapping) else values
    return urlencode(list(pairs), errors="replace")


def mark_of(name: str) -> str:
    """What a form names an image or a class by: a name may hold what a form changes.

    A number would name another one where the list has changed meanwhile.
    """
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def marked(names: Iterable[str], mark: str) -> str | None:
    """The name that a mark is of; None where there is none any more."""
    return next((name for name in names if mark_of(name) == mark), None)


def whole_number(text: str, otherwise: int = 0) -> int:
    """The number that a text is; `otherwise` where it is none, or one that counts nothing here."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 16
    return int(text) if is_number else otherwise


def changed_fields(asked: Any, changes: Mapping[str, object]) -> dict[str, object]:
    """Of what an address asks for, a dataclass, the fields that are not as by default.

    Args:
        changes: fields with another value than `asked` has.
    """
    defaults = asdict(type(asked)())
    values = {**asdict(asked), **changes}
    return {name: value for name, value in values.items() if value != defaults[name]}


def page_of(items: Items, page: int, size: int) -> tuple[Items, int, int]:
    """The items of one page, its number, and how many pages there are.

    A page beyond the last is the last.

    Args:
        page: from 1.
        size: items of a page.
    """
    num_pages = max(1, -(-len(items) // size))
    page = min(page, num_pages)
    found: Items = items[(page - 1) * size : page * size]
    return found, page, num_pages


def next_open(is_answered: Sequence[bool], number: int) -> int:
    """The next item after one that is not answered; simply the next where there is none."""
    after = [*range(number + 1, len(is_answered)), *range(number)]
    following = min(number + 1, len(is_answered) - 1)
    return next((n for n in after if not is_answered[n]), following)


def directory_below(folder: Path, named: str) -> Path | None:
    """A directory below a folder, itself included; None where there is none, or it lies elsewhere.

    Links are followed first, so that none leads out.
    """
    root = folder.resolve()
    try:
        path = (root / named).resolve()
        return path if path.is_relative_to(root) and path.is_dir() else None
    except (OSError, ValueError):  # a name that no directory can have
        return None
