"""Where the versions of a model come from: a path that stays, or an alias that moves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ResolvedVersion:
    """Where a version lies.

    Attributes:
        version: as answers name it; "" for the first digits of its digest.
        path: its run, or its bundle.
    """

    version: str
    path: Path


class VersionSource(Protocol):
    """Called in threads."""

    @property
    def moves(self) -> bool:
        """Whether another version may be wanted later."""

    def current(self) -> str | None:
        """The version that should be in service; None for none. Asked every second."""

    def resolve(self, version: str) -> ResolvedVersion:
        """Where a version lies.

        Raises:
            HolotypeError: there is none, or it was changed.
        """


@dataclass(frozen=True)
class FixedSource:
    """A run or a bundle, named by its path."""

    path: Path
    moves: bool = False

    def current(self) -> str:
        return ""

    def resolve(self, version: str) -> ResolvedVersion:
        return ResolvedVersion(version, self.path)
