"""The registry that pages show: the one that `holotype registry` uses, where there is one."""

from holotype.errors import MissingExtra, RegistryError, UsageError
from holotype.registry.registry import Registry


def open_registry(who: str = "") -> Registry | None:
    """The registry; None where there is none that can be read.

    Args:
        who: whom its history names; the user of the process where it is empty.
    """
    return find_registry(who)[0]


def find_registry(who: str = "") -> tuple[Registry | None, str]:
    """The registry, or why there is none: it was not made yet, is damaged or cannot be reached."""
    try:
        registry = Registry(who=who or None)
        registry.list()
    except (MissingExtra, RegistryError, UsageError) as error:
        return None, str(error)
    return registry, ""
