"""The executors by name, and the one call that the loops over runs make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from holotype.errors import UsageError, did_you_mean
from holotype.executors.job_sheet import Job, JobResult, JobSheet, OnChange
from holotype.executors.local import LocalExecutor
from holotype.executors.ray_cluster import RayExecutor
from holotype.executors.slurm import SlurmExecutor

RAY_ADDRESS = "ray://"
NAMES = ("local", "ray", "slurm")


class Executor(Protocol):
    """Where jobs run."""

    def run(self, sheet: JobSheet, on_change: OnChange) -> None:
        """Run all jobs of a sheet; returns when each has ended.

        Args:
            on_change: called about once a second with how far each is.
        """


def executor(on: str, *, slots: int) -> Executor:
    """The executor of a name.

    Args:
        on: `local`, `ray` (a cluster that runs on this machine, else one that is started),
            `ray://HOST:PORT`, or `slurm`.
        slots: jobs at once.

    Raises:
        UsageError: another name.
        MissingExtra: Ray is not installed.
    """
    if on == "local":
        return LocalExecutor(slots)
    if on == "ray" or on.startswith(RAY_ADDRESS):
        return RayExecutor(slots, on if on.startswith(RAY_ADDRESS) else None)
    if on == "slurm":
        return SlurmExecutor(slots)
    raise UsageError(
        f"--on {on!r}{did_you_mean(on, NAMES)} Expected local, ray, ray://HOST:PORT or slurm."
    )


def run_jobs(
    jobs: Sequence[Job],
    directory: Path,
    on: Executor,
    on_change: OnChange = lambda results: None,
) -> list[JobResult]:
    """Run jobs and tell what became of each; the failure of one stops nothing.

    Args:
        directory: of the sheet and the results, on a path that all machines share.
    """
    if not jobs:
        return []
    sheet = JobSheet(directory, jobs)
    sheet.write()
    on.run(sheet, on_change)
    for number in range(len(jobs)):
        sheet.fail_unfinished(number, "its process ended without a word; see its log")
    found = sheet.results()
    on_change(found)
    return found
