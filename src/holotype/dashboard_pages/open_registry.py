"""The registry that pages show: the one that `holotype registry` uses, where there is one."""

from holotype.errors import MissingExtra, RegistryError, UsageError
from holotype.registry.registry import Registry


def open_registry(who: str = "") -> Registry | None:
    """The registry; None where none was made yet, or what it needs is not installed.

    Args:
        who: whom its history names; the user of the process where it is empty.
    """
    try:
        registry = Registry(who=who or None)
        registry.list()
    except (MissingExtra, RegistryError, UsageError):
        return None
    return registry
