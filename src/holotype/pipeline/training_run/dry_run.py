"""`train --dry-run`: everything before training, a batch of each stage, and what it would take."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import parts_of
from holotype.pipeline.training_run.cross_validation import assign_folds, split_of_fold
from holotype.pipeline.training_run.excluded_images import exclude_and_log
from holotype.pipeline.training_run.finalize import require_validation
from holotype.pipeline.training_run.training_job import TrainingJob, peak_memory_mb
from holotype.progress import Progress
from holotype.training.runtime import Runtime
from holotype.training.time_estimate import StageEstimate, estimate_stages


@dataclass(frozen=True)
class DryRun:
    """What a training would take here, or with folds all trainings together.

    Attributes:
        split_sizes: how many images of each part, for every training; what is excluded counts in
            none.
        costs: of the pieces of work of all trainings.
        memory_mb: the most that this process held; activations of one batch are in it.
    """

    split_sizes: list[dict[str, int]]
    costs: "list[StageEstimate]"
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


def estimate_training(job: TrainingJob, index: "Index", folds: int | None) -> DryRun:
    """Split and leave out as `train` would, time a batch of each stage, and leave no run behind.

    Args:
        folds: as many trainings, one for each.

    Raises:
        HolotypeError: what `train` would raise before it begins to learn.
    """
    splits = _splits(job, index, folds)
    # Every training of a fold says what it leaves out; once is enough here.
    progress_per_fold = [job.progress, *[Progress()] * (len(splits) - 1)]
    kept = [
        exclude_and_log(one, job.exclude, progress)
        for one, progress in zip(splits, progress_per_fold, strict=True)
    ]
    for one, _ in kept:
        require_validation(job.recipe, one)
    job.progress.log("timing a batch of every stage")
    with tempfile.TemporaryDirectory() as scratch:
        runtime = Runtime(job.device, Path(scratch), Progress(), save_memory=job.save_memory)
        costs = estimate_stages(job.recipe, [one for one, _ in kept], runtime)
    return DryRun([_split_sizes(one, set(out)) for one, out in kept], costs, peak_memory_mb())


def _splits(job: TrainingJob, index: "Index", num_folds: int | None) -> "list[Index]":
    """The split of every training."""
    if num_folds is None:
        return [job.split(index)[0]]

    index, _ = assign_folds(job, index, num_folds)
    return [split_of_fold(job, index, fold) for fold in range(num_folds)]


def _split_sizes(index: "Index", excluded: set[str]) -> dict[str, int]:
    """The images of each part; those of test that are left out are still in the index."""
    return {
        part: int((~index.part(part).table["path"].isin(excluded)).sum())
        for part in parts_of(index)
    }
