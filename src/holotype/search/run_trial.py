"""The process of one full trial: python -m holotype.search.run_trial SEARCH NUMBER.

An ordinary run on the images of train and validation. It ends with a record: complete, pruned after
an epoch or because it diverged, or failed with a reason. A trial that was killed goes on from its
checkpoint when it is called again.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.index import Index, read_index_file
from holotype.errors import HolotypeError, RunLocked, Terminated, TrainingDiverged
from holotype.files import reading, write_json
from holotype.pipeline.audit import Audit
from holotype.pipeline.training_run.single_run import train_single_run
from holotype.pipeline.training_run.train import make_runtime
from holotype.pipeline.training_run.training_job import TrainingJob, TrainingRequest
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
from holotype.predictions import read_predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.search.median_pruning import is_below
from holotype.search.trial_record import TrialRecord, scores
from holotype.search.trials import Asked, read_asked
from holotype.search_directory import SearchDirectory, TrialDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.interruption import StopSignal
from holotype.training.preflight import check_stages
from holotype.training.training_resources import Runtime

LOCK_WAIT_S = 30.0  # for a process that is just ending to let go of the run


class TrialPruned(HolotypeError):
    """The trial is worse than the median of those before it."""


@dataclass(eq=False)
class EpochReports:
    """Validation accuracy at the end of every epoch, on disk, and whether to go on.

    Attributes:
        directory: of the trial; what an earlier process reported is kept.
        thresholds: see `median_pruning`.
    """

    directory: TrialDirectory
    thresholds: Sequence[float]
    _rows: list[tuple[str, int, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.directory.epochs.is_file():
            with reading(self.directory.epochs):
                found = json.loads(self.directory.epochs.read_bytes())
                self._rows = [(str(stage), int(epoch), float(one)) for stage, epoch, one in found]

    @property
    def accuracies(self) -> tuple[float, ...]:
        return tuple(value for _, _, value in self._rows)

    def __call__(self, epoch: EpochMetrics) -> None:
        """
        Raises:
            TrialPruned: it is below the median.
        """
        known = {(stage, number) for stage, number, _ in self._rows}
        if math.isfinite(epoch.val_accuracy) and (epoch.stage, epoch.epoch) not in known:
            self._rows.append((epoch.stage, epoch.epoch, epoch.val_accuracy))
            write_json(self.directory.epochs, self._rows)
        self.check()

    def check(self) -> None:
        """See `__call__`; a process that was killed may have reported and not ended."""
        if self._rows and is_below(self.accuracies, self.thresholds):
            limit = self.thresholds[len(self._rows) - 1]
            raise TrialPruned(
                f"after {len(self._rows)} epochs its best accuracy is "
                f"{max(self.accuracies):.4f}, below the median {limit:.4f} of earlier trials."
            )


def train_on(
    search: SearchDirectory, index: Index, run: RunDirectory, recipe: Recipe, runtime: Runtime
) -> None:
    """An ordinary run on an index that is split; the audit lies with the search.

    Args:
        run: begun or not; held by this process from here on.
    """
    settings = search.read_settings()
    request = TrainingRequest(
        data=search.index, output=run.path, recipe=recipe, name=settings["name"],
        reading=ReadingOptions(), resuming=Resuming(resume=True), progress=runtime.progress,
    )  # fmt: skip
    copies = RunDirectory(search.path).duplicate_clusters()
    findings = Findings(num_images=len(index), duplicate_clusters=copies)
    audit = Audit(index, findings, settings["name"])
    job = TrainingJob(request, recipe, runtime, audit, is_audited_elsewhere=True)
    with RunDirectory.claim(run.path, accept=lambda begun: True):
        train_single_run(job, index, run, command=job.command(run), is_fold=True)


def run_trial(search: SearchDirectory, number: int) -> None:
    """Run a trial and write how it ended.

    Raises:
        Terminated: told to stop; what was computed is kept.
    """
    directory = search.trial(number)
    asked = read_asked(directory)
    reports = EpochReports(directory, asked.thresholds)
    began = time.monotonic()
    try:
        reports.check()
        _train(search, directory, asked, reports)
        predictions = read_predictions(directory.run.predictions / "val.parquet")
        ended: dict[str, Any] = {"state": "complete", **scores(predictions)}
    except Terminated:
        raise
    except (TrialPruned, TrainingDiverged) as error:
        ended = {"state": "pruned", "reason": _reason(error, directory)}
    except HolotypeError as error:
        ended = {"state": "failed", "reason": _reason(error, directory)}
    seconds = round(time.monotonic() - began, 2)
    TrialRecord(
        number, params=asked.params, epochs=reports.accuracies, seconds=seconds, **ended
    ).write(directory)


def _train(
    search: SearchDirectory, directory: TrialDirectory, asked: Asked, reports: EpochReports
) -> None:
    index = read_index_file(search.train_val)
    stop_signal = StopSignal()
    progress = Progress(stream=sys.stderr, check=stop_signal.raise_if_requested)
    resources = Resources(**search.read_settings()["resources"])
    request = TrainingRequest(data=search.index, resources=resources, progress=progress)
    with stop_signal.handling_sigterm():
        runtime = make_runtime(request, asked.recipe, directory.run.checkpoints, stop_signal)
        runtime = replace(runtime, on_epoch=reports)
        check_stages(asked.recipe, runtime.device)
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                train_on(search, index, directory.run, asked.recipe, runtime)
            except RunLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return


def _reason(error: Exception, directory: TrialDirectory) -> str:
    """In one line, and the same wherever the search lies."""
    return " ".join(str(error).replace(str(directory.path), "trial").split())


if __name__ == "__main__":
    run_trial(SearchDirectory(Path(sys.argv[1])), int(sys.argv[2]))
