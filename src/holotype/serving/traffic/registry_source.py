"""Versions of the registry: what an alias points at."""

from holotype.registry.registered_name import CHAMPION, parse_registered_name
from holotype.registry.registry import Registry
from holotype.serving.traffic.version_exchange import ResolvedVersion


class RegistrySource:
    """What `registry://NAME@ALIAS` points at, now and later; `registry://NAME/7` stays.

    Raises:
        UsageError: it is no name of a registered classifier.
    """

    def __init__(self, target: str) -> None:
        self._target = parse_registered_name(target)
        self._registry = Registry()

    @property
    def name(self) -> str:
        return self._target.name

    def current(self) -> str | None:
        if self._target.version is not None:
            return str(self._target.version)
        alias = self._target.alias or CHAMPION
        found = self._registry.current_version(self.name, alias)
        return None if found is None else str(found)

    def resolve(self, version: str) -> ResolvedVersion:
        return ResolvedVersion(version, self._registry.version(f"{self.name}/{version}").path)
