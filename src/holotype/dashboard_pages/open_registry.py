"""The registry that pages show: the one that `holotype registry` uses, where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager

from holotype.errors import MissingExtra, RegistryError, UsageError
from holotype.registry.registry import Registry


@contextmanager
def open_registry(who: str = "") -> Iterator[tuple[Registry | None, str]]:
    """The registry, or why there is none: it was not made yet, is damaged or cannot be reached.

    Args:
        who: whom its history names; the user of the process where it is empty.
    """
    registry, why_none = None, ""
    try:
        registry = Registry(who=who or None)
        registry.list()
    except (MissingExtra, RegistryError, UsageError) as error:
        why_none = str(error)
    try:
        yield None if why_none else registry, why_none
    finally:
        if registry is not None:
            registry.close()
