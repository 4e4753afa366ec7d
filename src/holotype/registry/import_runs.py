"""Register the finished runs of a folder, as they were made before there was a registry."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.bundle.bundle import load_bundle
from holotype.errors import HolotypeError, UsageError
from holotype.notebook import html_result
from holotype.registry.database import DATABASE
from holotype.registry.registered_name import registered_word
from holotype.registry.registered_version import RegisteredVersion
from holotype.run_directory import RunDirectory
from holotype.search_directory import SearchDirectory
from holotype.text_tables import printable, short_text


@dataclass(frozen=True, repr=False)
class ImportedRuns:
    """What became of the runs of a folder.

    Attributes:
        versions: of every finished run, whether it is new or was registered before.
        left_out: why a run was not registered, by its path.
    """

    versions: Sequence[RegisteredVersion]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "versions": [version.to_json() for version in self.versions],
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        lines = [f"{version.name}/{version.version}  {version.source}" for version in self.versions]
        lines += [f"left out  {run}: {why}" for run, why in self.left_out.items()]
        return printable("\n".join(lines or ["no runs"]))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result("Imported runs", notes=str(self).splitlines())


def import_folder(
    folder: Path, name: str | None, add: Callable[[Path, str], RegisteredVersion]
) -> ImportedRuns:
    """Register every finished run below a folder, the oldest first; see `Registry.import_runs`.

    Args:
        add: registers a run under a name.
    """
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is no folder; expected one with runs in it.")
    versions, left_out = [], {}
    for run in sorted(find_runs(folder), key=lambda run: (run.recipe.stat().st_mtime, run.path)):
        try:
            registered = name or registered_word(load_bundle(run.path).manifest.name)
            versions.append(add(run.path, registered))
        except HolotypeError as error:
            left_out[str(run.path)] = " ".join(str(error).split())
    return ImportedRuns(versions, left_out)


def find_runs(folder: Path) -> Iterator[RunDirectory]:
    """Every run below a folder, without stages and folds of a run and the trials of a search.

    What a registry keeps of runs is not found either.
    """
    run = RunDirectory(folder)
    if run.recipe.is_file():
        yield run
        return
    if (folder / DATABASE).is_file():
        return
    search = SearchDirectory(folder)
    passed_over = search.trials.name if search.settings.is_file() else ""
    with os.scandir(folder) as entries:
        below = sorted(
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            and not entry.name.startswith(".")
            and entry.name != passed_over
        )
    for each in below:
        yield from find_runs(each)
