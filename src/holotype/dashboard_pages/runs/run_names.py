"""What runs are called on pages: registered ones by name and version, others by their paths."""

import re
from collections.abc import Iterable
from pathlib import Path

from holotype.dashboard_pages.open_registry import open_registry
from holotype.registry.stored_files import registered_runs

_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGITS = 12  # of a hash that are shown


def shown_names(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """Path below the folder -> what it is called: such as ``cells/7``, else itself, hashes cut."""
    paths = list(paths)
    registered: dict[Path, list[str]] = {}
    if any(_HASH.search(path) for path in paths):
        with open_registry() as (registry, _):
            registered = {} if registry is None else registered_runs(registry)
    return {
        path: ", ".join(registered.get((folder / path).resolve(), ()))
        or _HASH.sub(lambda found: f"{found[0][:_DIGITS]}…", path)
        for path in paths
    }
