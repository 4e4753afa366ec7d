"""What a tracker is told of a finished run: parameters, metrics by epoch, scores, files."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.evaluation.report_data import SCORES
from holotype.files import read_json, reading
from holotype.run_directory import RunDirectory
from holotype.training.config.yaml_files import flatten, read_mapping

_NOT_METRICS = ("stage", "epoch")


@dataclass(frozen=True)
class EpochValues:
    """The metrics of one epoch, by name, such as `full/val_loss`.

    Attributes:
        step: counts the epochs of all stages together, from 0.
    """

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class TrackedValues:
    """What is told of a run.

    Attributes:
        bundle: that ships; its digest is what a tracker knows the run by.
        parameters: of the recipe, flat: `stages.1.epochs`.
        epochs: in order; empty where no stage had epochs.
        scores: of the report, with the ends of their intervals: `test/accuracy_low`.
        plots: the figures of the report.
        pages: the report, the recipe, the model card and the environment.
    """

    run: RunDirectory
    bundle: Bundle
    parameters: Mapping[str, str]
    epochs: tuple[EpochValues, ...]
    scores: Mapping[str, float]
    plots: tuple[Path, ...]
    pages: tuple[Path, ...]

    @property
    def data(self) -> str:
        """What the data set is called."""
        return self.bundle.manifest.name


def tracked_values(run: RunDirectory) -> TrackedValues:
    """Read a finished run.

    Raises:
        NotARun: it has no report.
        BundleError: its bundle is missing or was changed.
    """
    report = run.require_metrics()
    recipe = read_mapping(run.recipe)
    pages = (run.report / "index.html", report, run.recipe, run.card, run.environment)
    return TrackedValues(
        run=run,
        bundle=load_bundle(run.path),
        parameters={key: str(value) for key, value in flatten(recipe).items()},
        epochs=tuple(_epochs(run.history)),
        scores=dict(_scores(read_json(report))),
        plots=tuple(sorted(run.report.glob("*.png"))),
        pages=tuple(page for page in pages if page.is_file()),
    )


def _epochs(history: Path) -> Iterator[EpochValues]:
    if not history.is_file():
        return
    with reading(history), history.open(encoding="utf-8", newline="") as file:
        for step, row in enumerate(csv.DictReader(file)):
            metrics = {
                f"{row['stage']}/{name}": float(text)
                for name, text in row.items()
                if name not in _NOT_METRICS and text and math.isfinite(float(text))
            }
            yield EpochValues(step, metrics)


def _scores(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    part = str(report["part"]).replace(" ", "_")
    for name in SCORES:
        for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            value = report.get(name, {}).get(end)
            if value is not None:
                yield f"{part}/{name}{suffix}", float(value)
