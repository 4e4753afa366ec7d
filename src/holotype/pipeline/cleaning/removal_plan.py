"""Decide what a clean-up removes, and what it keeps although it was asked for.

Nothing is removed that is referred to, that a process holds, or that holds a file of the user's.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.cache import cache_entries
from holotype.files import is_leftover, leftovers_below, read_json
from holotype.pipeline.cleaning.found_runs import (
    Found,
    bundle_digests,
    is_locked,
    references,
)
from holotype.pipeline.cleaning.written_files import files_of_others, size_of
from holotype.registry.registry import Registry
from holotype.registry.stored_files import unreferenced_files
from holotype.run_directory import LOCK, RunDirectory
from holotype.search_directory import SearchDirectory

RECENT_SECONDS = 3600  # an unfinished run, or a cached value, that was used since may be used again


@dataclass(frozen=True)
class CleaningOptions:
    """What is to be removed beside what killed processes left; see `clean`.

    Attributes:
        search_older: seconds.
        cache: bytes.
    """

    failed: bool = False
    keep: int | None = None
    search_older: float | None = None
    cache: int | None = None


@dataclass(frozen=True)
class Removal:
    """One path that a clean-up removes.

    Attributes:
        kind: `failed run`, `run`, `trials`, `cache`, `bundle` or `leftover`.
        num_bytes: what that frees.
        also: further files that go with it.
    """

    path: Path
    kind: str
    num_bytes: int
    also: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "kind": self.kind, "bytes": self.num_bytes}


@dataclass(frozen=True)
class Kept:
    """One path that was asked for, and is not removed.

    Attributes:
        reason: why, as the rest of a sentence.
    """

    path: Path
    reason: str


def plan_removals(
    found: Found, registries: Sequence[Registry], options: CleaningOptions
) -> tuple[list[Removal], list[Kept]]:
    """What to remove of what was found below a folder, and what is kept; see `clean`."""
    kept: list[Kept] = []
    by_digest, by_recipe = references(found, registries)

    def is_free(path: Path) -> bool:
        """Whether nothing speaks against it; what does is noted."""
        reason = _why_kept(path, by_digest, by_recipe)
        if reason:
            kept.append(Kept(path, reason))
        return not reason

    removals = [
        Removal(path, "leftover", size_of(path)) for path in found.leftovers if is_leftover(path)
    ]
    if options.failed:
        removals += [
            Removal(run.path, "failed run", size_of(run.path))
            for run in found.runs
            if not run.metrics.is_file() and is_free(run.path)
        ]
    if options.keep is not None:
        removals += [
            Removal(run.path, "run", size_of(run.path))
            for run in _older_runs(found.runs, options.keep)
            if is_free(run.path)
        ]
    if options.search_older is not None:
        removals += [
            Removal(trials, "trials", size_of(trials))
            for trials in _old_trials(found.searches, options.search_older)
            if is_free(trials)
        ]
    return removals, kept


def plan_store(registries: Iterable[Registry]) -> list[Removal]:
    """Bundles and records that no version refers to, and what killed registrations left."""
    return [
        Removal(path, kind, size_of(path))
        for registry in registries
        for kind, paths in (
            ("bundle", unreferenced_files(registry)),
            ("leftover", leftovers_below(registry.store.path)),
        )
        for path in paths
    ]


def plan_cache(limit: int) -> list[Removal]:
    """The values of the cache that were used longest ago, until the rest is within the limit."""
    entries = sorted(cache_entries(), key=lambda entry: (entry.used_at, entry.files))
    total = sum(entry.num_bytes for entry in entries)
    removals = []
    for entry in entries:
        if total <= limit or entry.used_at > time.time() - RECENT_SECONDS:
            break
        first, *others = entry.files
        removals.append(Removal(first, "cache", entry.num_bytes, tuple(others)))
        total -= entry.num_bytes
    return removals


def _why_kept(path: Path, by_digest: dict[str, str], by_recipe: Sequence[tuple[Path, Path]]) -> str:
    """What speaks against the removal of a directory; empty where nothing does."""
    if is_locked(path):
        return "a process is writing it"
    others = next(files_of_others(path), None)
    if others is not None:
        return f"it holds {others}, which Holotype did not write"
    for digest in sorted(bundle_digests(path)):
        if digest in by_digest:
            return by_digest[digest]
    for run, named in by_recipe:
        if run != path and named.is_relative_to(path.resolve()):
            return f"{run} was trained from it"
    is_finished = RunDirectory(path).metrics.is_file()
    if not is_finished and _last_change(path) > time.time() - RECENT_SECONDS:
        return "it changed less than an hour ago, and may go on"
    return ""


def _older_runs(runs: Sequence[RunDirectory], keep: int) -> Iterator[RunDirectory]:
    """The finished runs but the newest of each data set in each folder."""
    by_data: dict[tuple[Path, str], list[tuple[float, RunDirectory]]] = {}
    for run in runs:
        if run.metrics.is_file():
            ended = run.metrics.stat().st_mtime
            by_data.setdefault((run.path.parent, _data_of(run)), []).append((ended, run))
    for ended_runs in by_data.values():
        newest_first = sorted(ended_runs, key=lambda each: (-each[0], str(each[1].path)))
        yield from (run for _, run in newest_first[keep:])


def _data_of(run: RunDirectory) -> str:
    """What the data set of a run is called; empty where its bundle does not say."""
    file = run.bundle / "manifest.json"
    return str(read_json(file).get("name", "")) if file.is_file() else ""


def _old_trials(searches: Sequence[SearchDirectory], seconds: float) -> Iterator[Path]:
    """The trials of searches that ended so long ago; their tables and winners stay."""
    for search in searches:
        page = search.report / "index.html"
        is_old = page.is_file() and page.stat().st_mtime < time.time() - seconds
        if is_old and search.trials.is_dir() and not is_locked(search.path):
            yield search.trials


def _last_change(directory: Path) -> float:
    paths = [path for path in (directory, *directory.rglob("*")) if path.name != LOCK]
    return max(path.lstat().st_mtime for path in paths)
