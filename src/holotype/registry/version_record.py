"""What a registry keeps of a run in its database: recipe, data, scores, commit, environment."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from holotype.bundle.bundle import Bundle
from holotype.dataset.index import read_index_file
from holotype.evaluation.report_data import SCORES
from holotype.files import read_json, reading
from holotype.run_directory import RunDirectory

_HASHED_COLUMNS = ("sha256", "label", "group", "split", "fold", "weight")


@dataclass(frozen=True)
class VersionRecord:
    """The columns of a version that come from its run; empty where there is only a bundle.

    Attributes:
        model, data: the architecture, and what the data set is called.
        data_sha256: of the bytes, labels, groups, parts and weights of all images, see
            `data_fingerprint`.
        part, num_images: which images the scores are of, and how many.
        accuracy, accuracy_low, accuracy_high: with its 95 % interval.
        metrics: all scores with intervals, as JSON.
        recipe: the YAML.
        environment: `environment.json`.
        git_commit: of the directory that the training was started in.
    """

    model: str
    data: str
    data_sha256: str = ""
    part: str = ""
    num_images: int | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    metrics: str = "{}"
    recipe: str = ""
    environment: str = "{}"
    git_commit: str = ""


def read_version_record(run: RunDirectory, bundle: Bundle) -> VersionRecord:
    """What is known of a run, or of a bundle alone."""
    manifest = bundle.manifest
    if not run.recipe.is_file():
        return VersionRecord(manifest.model, manifest.name)
    environment = _json(run.environment)
    report = _json(run.metrics)
    with reading(run.recipe):
        recipe = run.recipe.read_text(encoding="utf-8")
    with reading(run.metrics):
        accuracy = {**report.get("accuracy", {})}
    return VersionRecord(
        model=manifest.model,
        data=manifest.name,
        data_sha256=data_fingerprint(run) if run.index.is_file() else "",
        part=report.get("part", ""),
        num_images=report.get("num_images"),
        accuracy=accuracy.get("value"),
        accuracy_low=accuracy.get("low"),
        accuracy_high=accuracy.get("high"),
        metrics=json.dumps({name: report[name] for name in SCORES if name in report}),
        recipe=recipe,
        environment=json.dumps(environment),
        git_commit=environment.get("git_commit") or "",
    )


def data_fingerprint(run: RunDirectory) -> str:
    """A hash of the images of a run: equal where bytes, labels, groups, parts and weights are.

    Paths do not count, so the same images have one fingerprint wherever they lie.
    """
    table = read_index_file(run.index).table
    rows = sorted(zip(*(table[name].astype(str) for name in _HASHED_COLUMNS), strict=True))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _json(file: Any) -> dict[str, Any]:
    if not file.is_file():
        return {}
    return read_json(file)
