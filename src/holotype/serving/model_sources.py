"""What is served: names for paths, and what a run says of its classifier."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holotype.bundle.integrity import MANIFEST, bundle_directory
from holotype.bundle.manifest import MAX_BYTES, read_manifest
from holotype.errors import UsageError
from holotype.files import read_json
from holotype.registry.registered_name import is_registered_name
from holotype.run_directory import RunDirectory, run_path
from holotype.serving.traffic.registry_source import RegistrySource
from holotype.serving.traffic.start_traffic import ServedSources
from holotype.serving.traffic.traffic_options import TrafficOptions
from holotype.serving.traffic.version_source import FixedSource, VersionSource

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def served_sources(
    classifiers: Sequence[str | os.PathLike[str]], options: TrafficOptions
) -> ServedSources:
    """What is served: runs, stages, bundles, `registry://NAME@ALIAS`, or `NAME=` one of these.

    Raises:
        UsageError: none, a name that no path of a URL may hold, two of one name, or a challenger
            of none of them.
        NotABundle: there is no classifier.
    """
    if not classifiers:
        raise UsageError("nothing to serve was named; give a run or a bundle.")
    champions: dict[str, VersionSource] = {}
    for given in classifiers:
        name, source = _named_source(os.fspath(given))
        if name in champions:
            raise UsageError(f"two models are called {name!r}. Give NAME=RUN.")
        champions[name] = source
    challengers = {}
    if options.challenger is not None:
        named, path = _name_and_path(os.fspath(options.challenger))
        if not named and len(champions) > 1:
            raise UsageError("several models are served: name the one of --challenger by NAME=RUN.")
        challengers[named or next(iter(champions))] = _source(path)
    return ServedSources(champions, challengers, options)


def _named_source(given: str) -> tuple[str, VersionSource]:
    """What requests call a model, and where its versions come from."""
    name, path = _name_and_path(given)
    source = _source(path)
    if not name:
        if isinstance(source, RegistrySource):
            name = source.name
        else:
            name = _own_name(bundle_directory(path))
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a model; expected letters, digits, '.', '_' and '-': "
            f"give NAME={path}."
        )
    return name, source


def _name_and_path(given: str) -> tuple[str, str]:
    """`NAME=PATH`, or a path alone, in which an equals sign may stand too."""
    name, equals, path = given.partition("=")
    return ("", given) if not equals or "/" in name or os.path.exists(given) else (name, path)


def _source(path: str) -> RegistrySource | FixedSource:
    if is_registered_name(path):
        return RegistrySource(path)
    bundle_directory(path)  # there is one
    return FixedSource(run_path(path))


def run_facts(bundle: Path) -> tuple[dict[str, Any], str]:
    """The metrics and the model card of the run that a bundle lies in; empty without one."""
    run = RunDirectory(bundle.parent)
    if bundle != run.bundle or not run.recipe.is_file():
        return {}, ""
    root = run.root_run
    metrics_file = run.report / "metrics.json"
    metrics = read_json(metrics_file) if metrics_file.is_file() else {}
    card = root.card.read_text("utf-8", "replace") if root.card.is_file() else ""
    return metrics, card


def _own_name(directory: Path) -> str:
    with (directory / MANIFEST).open("rb") as file:
        own = read_manifest(file.read(MAX_BYTES + 1), str(directory)).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", own).strip("-.") or "model"
