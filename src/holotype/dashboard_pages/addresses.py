"""The part of an address after the question mark."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode


def query_string(values: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Values as an address has them; what is no Unicode in the name of a file is a question mark.

    Without that one such name would take the page from all others.
    """
    pairs = values.items() if isinstance(values, Mapping) else values
    return urlencode(list(pairs), errors="replace")


def changed_fields(asked: Any, changes: Mapping[str, object]) -> dict[str, object]:
    """Of what an address asks for, a dataclass, the fields that are not as by default.

    Args:
        changes: fields with another value than `asked` has.
    """
    defaults = asdict(type(asked)())
    values = {**asdict(asked), **changes}
    return {name: value for name, value in values.items() if value != defaults[name]}
