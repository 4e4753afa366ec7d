"""`holotype.clean`: remove runs, trials, caches and leftovers that nothing refers to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.errors import UsageError
from holotype.files import cache_directory, discard, leftovers_below, remove_path
from holotype.notebook import data_frame, html_result, html_table
from holotype.pipeline.cleaning.found_runs import find_below, is_locked, open_registries
from holotype.pipeline.cleaning.removal_plan import (
    CleaningOptions,
    Kept,
    Removal,
    plan_cache,
    plan_removals,
    plan_store,
)
from holotype.pipeline.cleaning.written_files import size_of
from holotype.progress import parse_duration, pluralize
from holotype.registry.registry import Registry
from holotype.registry.stored_files import remove_unreferenced
from holotype.text_tables import printable, short_text, text_table
from holotype.training.features.disk_budget import disk_budget, format_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Cleaning:
    """What a clean-up removes, or has removed, and what it keeps although it was asked for.

    Attributes:
        removals: by path.
        kept: with the reason of each.
        is_done: whether it was removed; else it would be.
    """

    removals: Sequence[Removal]
    kept: Sequence[Kept]
    is_done: bool

    @property
    def num_bytes(self) -> int:
        """What is freed."""
        return sum(removal.num_bytes for removal in self.removals)

    def to_frame(self) -> "pd.DataFrame":
        """One row per removal: path, kind, bytes."""
        rows = [removal.to_json() for removal in self.removals]
        return data_frame({key: [row[key] for row in rows] for key in ("path", "kind", "bytes")})

    def to_json(self) -> dict[str, Any]:
        return {
            "done": self.is_done,
            "bytes": self.num_bytes,
            "removals": [removal.to_json() for removal in self.removals],
            "kept": [{"path": str(one.path), "reason": one.reason} for one in self.kept],
        }

    def __str__(self) -> str:
        lines = [self._title]
        if self.removals:
            lines.append(text_table(("size", "what", "path"), self._rows()))
        lines += [f"kept  {one.path}: {one.reason}." for one in self.kept]
        return printable("\n".join(lines))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        notes = [f"kept {one.path}: {one.reason}." for one in self.kept]
        table = html_table(("size", "what", "path"), self._rows())
        return html_result(self._title, table, notes=notes)

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(format_bytes(one.num_bytes), one.kind, str(one.path)) for one in self.removals]

    @property
    def _title(self) -> str:
        verb = "removed" if self.is_done else "would remove"
        if not self.removals:
            return "nothing to remove"
        things = pluralize(len(self.removals), "thing")
        return f"{verb} {things}, {format_bytes(self.num_bytes)}"


def clean(
    folder: str | os.PathLike[str] | None = None,
    *,
    failed: bool = False,
    keep: int | None = None,
    search_older: str | None = None,
    cache: str | None = None,
    registry: str | None = None,
    yes: bool = False,
) -> Cleaning:
    """Remove runs, trials, caches and leftovers that nothing refers to; or say what that would be.

    A run stays where a registered version, an ensemble, a selection or the recipe of another run
    refers to it, where a process holds it, and where it holds a file that Holotype did not write.
    What killed processes left, and stored bundles without a version, go in any case.

    Example:
        >>> holotype.clean("runs", failed=True, keep=3)  # doctest: +SKIP
        would remove 4 things, 212.0 MB

    Args:
        folder: of runs, at any depth; None looks at the cache only.
        failed: remove runs that did not finish and that no process has touched for an hour.
        keep: of the finished runs of each data set in each folder, so many stay, the newest.
        search_older: remove the trials of searches that ended so long ago, such as `7d` or `12h`;
            their tables, reports and winners stay.
        cache: remove the values of the cache that were used longest ago, until it holds at most so
            much, such as `20G`; what was used within the last hour stays.
        registry: the registry whose versions stay; see `Registry`.
        yes: remove; without it nothing is changed.

    Raises:
        UsageError: there is no such folder, a size or a time that makes no sense, or a registry.
        RegistryError: a registry cannot be read, so what it refers to is not known.
    """
    options = CleaningOptions(
        failed=failed,
        keep=keep,
        search_older=None if search_older is None else parse_duration(search_older),
        cache=None if cache is None else disk_budget(cache).total_bytes,
    )
    if keep is not None and keep < 0:
        raise UsageError(f"--keep is {keep}; expected a number of runs, 0 or more.")
    if folder is None and cache is None:
        raise UsageError("nothing was named to clean; expected a folder of runs, or --cache 20G.")
    removals: list[Removal] = []
    kept: list[Kept] = []
    registries: list[Registry] = []
    if folder is not None:
        place = Path(folder)
        if not place.is_dir():
            raise UsageError(f"{str(place)!r} is no folder; expected one with runs in it.")
        found = find_below(place)
        registries = open_registries(found, place, registry)
        removals, kept = plan_removals(found, registries, options)
        removals += plan_store(registries)
    if options.cache is not None:
        removals += plan_cache(options.cache)
        removals += [
            Removal(path, "leftover", size_of(path)) for path in leftovers_below(cache_directory())
        ]
    if not yes:
        return Cleaning(removals, kept, is_done=False)
    done = [removal for removal in removals if _remove(removal, registries, kept)]
    return Cleaning(done, kept, is_done=True)


def _remove(removal: Removal, registries: Sequence[Registry], kept: list[Kept]) -> bool:
    """Remove one path; False where something has begun to use it since it was looked at.

    A directory is renamed before its files go, so a reader never sees a part of it, and what a
    killed clean-up leaves is a leftover of the next.
    """
    if removal.kind == "bundle":
        if not any(remove_unreferenced(registry, removal.path) for registry in registries):
            kept.append(Kept(removal.path, "a version refers to it now"))
            return False
        return True
    if removal.kind in ("failed run", "run", "trials"):
        if is_locked(removal.path):
            kept.append(Kept(removal.path, "a process is writing it now"))
            return False
        discard(removal.path)
        return True
    for path in (removal.path, *removal.also):
        remove_path(path)
    return True
