"""What is served: names for paths, and what a run says of its classifier."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holotype.bundle.bundle import MANIFEST
from holotype.bundle.manifest import MAX_BYTES, read_manifest
from holotype.errors import NotABundle, UsageError
from holotype.run_directory import RunDirectory, run_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def named_models(sources: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Name -> bundle directory, for `RUN`, `RUN@STAGE`, a bundle, or `NAME=` one of these.

    Raises:
        UsageError: none, a name that no path of a URL may hold, or two of one name.
        NotABundle: there is no classifier.
    """
    if not sources:
        raise UsageError("nothing to serve was named; give a run or a bundle.")
    found: dict[str, Path] = {}
    for given in sources:
        source = os.fspath(given)
        name, _, path = source.rpartition("=")
        directory = _bundle_directory(path if name else source)
        name = name or _own_name(directory)
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a model; expected letters, digits, '.', '_' and '-': "
                f"give NAME={path}."
            )
        if name in found:
            raise UsageError(
                f"two models are called {name!r}: {found[name]} and {directory}. Give NAME=RUN."
            )
        found[name] = directory
    return found


def run_facts(bundle: Path) -> tuple[dict[str, Any], str]:
    """The metrics and the model card of the run that a bundle lies in; empty without one."""
    run = RunDirectory(bundle.parent)
    if bundle != run.bundle or not run.recipe.is_file():
        return {}, ""
    root = run.root_run
    metrics_file = run.report / "metrics.json"
    metrics = json.loads(metrics_file.read_bytes()) if metrics_file.is_file() else {}
    card = root.card.read_text("utf-8") if root.card.is_file() else ""
    return metrics if isinstance(metrics, dict) else {}, card


def _bundle_directory(path: str) -> Path:
    directory = run_path(path)
    for place in (directory, RunDirectory(directory).bundle):
        if (place / MANIFEST).is_file():
            return place
    raise NotABundle(
        f"{path!r} holds no classifier: expected a run directory that training has finished, or "
        f"a bundle directory with {MANIFEST} in it."
    )


def _own_name(directory: Path) -> str:
    with (directory / MANIFEST).open("rb") as file:
        own = read_manifest(file.read(MAX_BYTES + 1), str(directory)).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", own).strip("-.") or "model"
