"""The training of the candidate: an ordinary `holotype train` in a process of its own.

So this process needs no torch, and a training that takes too long, or whose starter is killed,
writes a checkpoint and goes on the next time.
"""

import time
from collections.abc import Sequence

from holotype.architectures.catalog import is_custom_model
from holotype.bundle.onnx_runtime import available_cores
from holotype.errors import RunError, Terminated
from holotype.executors.executor import run_jobs
from holotype.executors.job_sheet import Job, JobResult
from holotype.executors.local import LocalExecutor
from holotype.pipeline.training_run.resume import is_finished
from holotype.watching.retraining.champion import Champion
from holotype.watching.retraining.retraining_directory import RetrainingDirectory


def train_candidate(
    champion: Champion,
    directory: RetrainingDirectory,
    *,
    warm: bool,
    device: str,
    deadline_s: float | None,
) -> None:
    """Train by the champion's recipe on old and new images, unless that is done.

    Args:
        warm: start from the champion's weights.
        deadline_s: of `time.monotonic()`, after which it stops with a checkpoint; None: never.

    Raises:
        Terminated: the time is used up; the next call goes on.
        RunError: the training failed.
    """
    if is_finished(directory.run):
        return
    command = training_command(champion, directory, warm=warm, device=device)
    job = Job("candidate", (command,), directory.jobs / "train.log", available_cores())

    def stop_in_time(_: Sequence[JobResult]) -> None:
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise Terminated(
                f"the budget is used up; the same command goes on with {str(directory.path)!r}."
            )

    (found,) = run_jobs([job], directory.jobs, LocalExecutor(1), stop_in_time)
    if found.state != "done":
        raise RunError(f"the candidate did not train: {found.reason} See {str(job.log)!r}.")


def training_command(
    champion: Champion, directory: RetrainingDirectory, *, warm: bool, device: str
) -> tuple[str, ...]:
    """The words of the training."""
    model = str(champion.recipe.get("model"))
    words = ["holotype", "train", str(directory.data(champion.name))]
    words += ["--output", str(directory.run.path), "--recipe", str(directory.recipe), "--resume"]
    words += ["--device", device]
    words += ["--init-from", str(champion.trained_in)] if warm else []
    words += ["--model", model] if is_custom_model(model) else []
    return tuple(words)
