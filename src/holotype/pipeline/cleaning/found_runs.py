"""Find runs, searches and leftovers below a folder, and what refers to them."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holotype.bundle.bundle import MANIFEST, MEMBERS
from holotype.ensembles.ensemble_recipe import KIND
from holotype.errors import InvalidRecipe, NotARegistry, RunLocked
from holotype.files import TEMPORARY_PREFIX
from holotype.registry.database import DATABASE
from holotype.registry.registry import DEFAULT_PLACE, Registry
from holotype.registry.stored_files import kept_recipes
from holotype.run_directory import LOCK, RunDirectory
from holotype.search_directory import SearchDirectory
from holotype.training.config.resolve import recipe_paths
from holotype.training.config.yaml_files import parse_yaml

SELECTION = "selection.json"  # of a comparison: the bundle that a program is to load


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        runs: every run that stands by itself; stages, folds and trials belong to theirs.
        searches: every directory of a search.
        leftovers: temporary files and directories, whether a process still holds them or not.
        selections: every `selection.json`.
        registries: directories of registries, which are not searched for runs.
    """

    runs: list[RunDirectory] = field(default_factory=list)
    searches: list[SearchDirectory] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    selections: list[Path] = field(default_factory=list)
    registries: list[Path] = field(default_factory=list)


def find_below(folder: Path) -> Found:
    """Walk a folder; links are not followed."""
    found = Found()
    _walk(folder, found, within=False)
    return found


def _walk(folder: Path, found: Found, *, within: bool) -> None:
    """
    Args:
        within: whether the folder is a part of a run or of a search, and is no run by itself.
    """
    store = os.environ.get("HOLOTYPE_REGISTRY_FILES")
    if store and folder.resolve() == Path(store).resolve():
        return
    if (folder / DATABASE).is_file():
        found.registries.append(folder)
        return
    search = SearchDirectory(folder)
    if not within and search.settings.is_file():
        found.searches.append(search)
        within = True
    elif not within and RunDirectory(folder).recipe.is_file():
        found.runs.append(RunDirectory(folder))
        within = True
    with os.scandir(folder) as entries:
        below = sorted(entries, key=lambda entry: entry.name)
    for entry in below:
        path = Path(entry.path)
        if entry.name.startswith(TEMPORARY_PREFIX):
            found.leftovers.append(path)
        elif entry.name == SELECTION and not within:
            found.selections.append(path)
        elif entry.is_dir(follow_symlinks=False):
            _walk(path, found, within=within)


def bundle_digests(directory: Path) -> set[str]:
    """The digests of the bundles of a run, its stages and folds, or of trials; not of members.

    An ensemble has copies of its members, so it is not they.
    """
    return {
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob(MANIFEST)
        if file.is_file() and MEMBERS not in file.relative_to(directory).parts
    }


def references(
    found: Found, registries: Sequence[Registry]
) -> tuple[dict[str, str], list[tuple[Path, Path]]]:
    """What is referred to: the digests of bundles with what refers to each; and (run, path).

    Registered versions, members of ensembles, and selections refer to bundles by their digest. The
    recipe of a run that learnt from another names a path within it, which is resolved.
    """
    by_digest: dict[str, str] = {}
    by_recipe = []
    for registry in registries:
        for name, version, digest, recipe in kept_recipes(registry):
            by_digest.setdefault(digest, f"it is {name}/{version} of the registry")
            for member in _members(recipe):
                by_digest.setdefault(member, f"it is a member of {name}/{version} of the registry")
    for run in found.runs:
        text = run.recipe.read_text(encoding="utf-8", errors="replace")
        by_recipe += [(run.path, path) for path in recipe_paths(run.recipe)]
        for member in _members(text):
            by_digest.setdefault(member, f"it is a member of the ensemble {run.path}")
    for file in found.selections:
        for digest in _selected(file):
            by_digest.setdefault(digest, f"it is selected in {file}")
    return by_digest, by_recipe


def open_registries(found: Found, folder: Path, named: str | None) -> list[Registry]:
    """The registry that is named, one beside the runs, and those below the folder.

    Raises:
        MissingExtra: there is one, and the extra `registry` is not installed.
        RegistryError: it cannot be read, so what it refers to is not known.
    """
    default = named or os.environ.get("HOLOTYPE_REGISTRY") or DEFAULT_PLACE
    places = [default, str(folder.absolute().parent / DEFAULT_PLACE), *map(str, found.registries)]
    registries: dict[str, Registry] = {}
    for place in places:
        is_url = "://" in place
        key = place if is_url else str(Path(place).resolve())
        if key in registries or not (is_url or (Path(place) / DATABASE).is_file()):
            continue
        registry = Registry(place)
        try:
            registry.list()
        except NotARegistry:
            continue
        registries[key] = registry
    return list(registries.values())


def is_locked(directory: Path) -> bool:
    """Whether a process holds a run, or a stage, fold or trial below it."""
    for lock in directory.rglob(LOCK):
        try:
            with RunDirectory(lock.parent).lock():
                pass
        except RunLocked:
            return True
    return False


def _members(recipe: str) -> Iterator[str]:
    """The digests of the members of an ensemble, of its recipe; none of another recipe."""
    if KIND not in recipe:
        return
    try:
        value = parse_yaml(recipe, "a recipe")
    except InvalidRecipe:
        return
    if isinstance(value, dict) and value.get("kind") == KIND:
        for member in value.get("members") or ():
            if isinstance(member, dict) and isinstance(member.get("bundle"), str):
                yield member["bundle"]


def _selected(file: Path) -> Iterator[str]:
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for one in found.get("selections", ()) if isinstance(found, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("bundle_sha256"), str):
            yield one["bundle_sha256"]
