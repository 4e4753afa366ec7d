"""Set a dotted key in the fields of a recipe."""

import os
from collections.abc import Mapping
from typing import Any

from holotype.errors import InvalidRecipe


def set_key(fields: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `stages.1.epochs` and the like; the keys themselves are judged by the validation.

    Raises:
        InvalidRecipe: the key leads nowhere.
    """
    *path, last = dotted.split(".")
    place: Any = fields
    for step in path:
        place = _step_into(place, step, dotted)
    if isinstance(place, list):
        _step_into(place, last, dotted)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise InvalidRecipe(f"--set {dotted}: {'.'.join(path)!r} has no keys inside")


def _step_into(place: Any, step: str, dotted: str) -> Any:
    if isinstance(place, list):
        if not (step.isascii() and step.isdecimal()) or int(step[:9]) >= len(place):
            raise InvalidRecipe(
                f"--set {dotted}: expected a number from 0 to {len(place) - 1}, got {step!r}"
            )
        return place[int(step)]
    if isinstance(place, dict):
        # A copy, since stages that share a part through a YAML anchor share the object too.
        inside = place.get(step)
        place[step] = {} if inside is None else plain(inside)
        return place[step]
    raise InvalidRecipe(f"--set {dotted}: there is nothing inside {step!r}")


def plain(value: Any) -> Any:
    """A copy of mappings, sequences and paths as a YAML file would hold them."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
