"""Versions of the registry: what an alias points at, now and later."""

from holotype.registry.registered_name import CHAMPION, parse_registered_name
from holotype.registry.registry import Registry
from holotype.serving.traffic.version_source import ResolvedVersion


class RegistrySource:
    """What `registry://NAME@ALIAS` points at; `registry://NAME/7` stays.

    The registry is that of `HOLOTYPE_REGISTRY`.

    Raises:
        UsageError: it is no name of a registered classifier.
        MissingExtra: the extra `registry` is not installed.
    """

    def __init__(self, target: str) -> None:
        self._target = parse_registered_name(target)
        self._registry = Registry()

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def moves(self) -> bool:
        return self._target.version is None

    def current(self) -> str | None:
        if self._target.version is not None:
            return str(self._target.version)
        alias = self._target.alias or CHAMPION
        found = self._registry.current_version(self.name, alias)
        return None if found is None else str(found)

    def resolve(self, version: str) -> ResolvedVersion:
        return ResolvedVersion(version, self._registry.version(f"{self.name}/{version}").path)
