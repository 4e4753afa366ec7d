"""The dry run of a training: time a batch of each stage, and estimate time, disk and memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import parts_of
from holotype.notebook import data_frame, html_result, html_table
from holotype.pipeline.training_run.cross_validation import assign_folds, split_of_fold
from holotype.pipeline.training_run.excluded_images import exclude_and_log, require_trainable
from holotype.pipeline.training_run.train_and_seal import refit_hindrance, require_validation
from holotype.pipeline.training_run.training_job import TrainingJob, peak_memory_mb
from holotype.pipeline.training_run.warm_start import check_teacher
from holotype.progress import Progress, duration, pluralize
from holotype.text_tables import short_text, text_table
from holotype.training.config.recipe import Recipe
from holotype.training.time_estimate import StageEstimate, estimate_rows, estimate_stages

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("stage", "work", "time", "disk")


@dataclass(frozen=True, repr=False)
class TrainingEstimate:
    """What a training would take here, or with folds all trainings together.

    Attributes:
        split_sizes: images of each split, for every training, without the excluded ones.
        costs: of the pieces of work of all trainings.
        memory_mb: the most that this process held, activations of one batch included; MB of 10^6
            bytes, None on Windows.
    """

    split_sizes: list[dict[str, int]]
    costs: list[StageEstimate]
    memory_mb: float | None

    @property
    def seconds(self) -> float:
        """Of all trainings."""
        return sum(cost.seconds for cost in self.costs)

    def to_json(self) -> dict[str, Any]:
        return {
            "split_sizes": self.split_sizes,
            "stages": [vars(cost) for cost in self.costs],
            "seconds": self.seconds,
            "disk_bytes": sum(cost.disk_bytes for cost in self.costs),
            "memory_mb": self.memory_mb,
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per piece of work: stage, work, seconds, disk_bytes."""
        names = ("stage", "work", "seconds", "disk_bytes")
        return data_frame({name: [getattr(cost, name) for cost in self.costs] for name in names})

    def __repr__(self) -> str:
        return short_text(self._title, text_table(HEADER, estimate_rows(self.costs)))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(HEADER, estimate_rows(self.costs)))

    @property
    def _title(self) -> str:
        trainings = pluralize(len(self.split_sizes), "training")
        return f"Estimate of {trainings}: {duration(self.seconds)}"


def estimate_training(job: TrainingJob, index: Index, folds: int | None) -> TrainingEstimate:
    """Split and exclude as `train` would, and time a batch of each stage; no run is written.

    Args:
        folds: as many trainings, one for each.

    Raises:
        HolotypeError: what `train` would raise before it begins to learn.
    """
    splits = _splits(job, index, folds)
    # Every training of a fold says what it leaves out; once is enough here.
    progress_per_fold = [job.progress, *[Progress()] * (len(splits) - 1)]
    kept = [
        exclude_and_log(one, job.request.reading.exclude, progress)
        for one, progress in zip(splits, progress_per_fold, strict=True)
    ]
    for one in splits:
        require_trainable(one, job.request.reading.exclude)
    for one, _ in kept:
        require_validation(job.recipe, one)
    if folds is None:
        check_teacher(job.recipe, splits[0])
    job.progress.log("timing a batch of every stage")
    runtime = replace(job.runtime, progress=Progress())
    indices = [one for one, _ in kept]
    costs = estimate_stages(job.recipe, indices, runtime)
    if job.recipe.refit and not refit_hindrance(job.recipe, indices[0]):
        costs.append(_refit_estimate(job.recipe, costs, indices[0]))
    return TrainingEstimate(
        [_split_sizes(one, set(out)) for one, out in kept], costs, peak_memory_mb()
    )


def _refit_estimate(recipe: Recipe, costs: Sequence[StageEstimate], index: Index) -> StageEstimate:
    """At most what the gradient stages take, on as many images more."""
    stages = {stage.name for stage in recipe.gradient_stages}
    images, more = len(index.part("train")), len(index.part("val"))
    seconds = sum(cost.seconds for cost in costs if cost.stage in stages) * (1 + more / images)
    return StageEstimate("refit", f"again on all {images + more:,} images", seconds, 0.0)


def _splits(job: TrainingJob, index: Index, num_folds: int | None) -> list[Index]:
    """The split of every training."""
    if num_folds is None:
        return [job.split(index)[0]]

    index, _ = assign_folds(job, index, num_folds)
    return [split_of_fold(job, index, fold) for fold in range(num_folds)]


def _split_sizes(index: Index, excluded: set[str]) -> dict[str, int]:
    """The images of each part; those of test that are left out are still in the index."""
    return {
        part: int((~index.part(part).table["path"].isin(excluded)).sum())
        for part in parts_of(index)
    }
