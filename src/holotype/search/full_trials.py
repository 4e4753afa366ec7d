"""Full trials: a process each, by an executor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holotype.executors.executor import Executor, run_jobs
from holotype.executors.job_sheet import Job
from holotype.search.trial_record import TrialRecord, read_record
from holotype.search.trials import Asked
from holotype.search_directory import SearchDirectory


@dataclass(frozen=True, eq=False)
class FullTrials:
    """Runs the trials of a batch as jobs.

    Attributes:
        search: where they are written.
        executor: where they run.
        threads: cores of each.
        check: called about once a second; it may raise, to stop the trials.
    """

    search: SearchDirectory
    executor: Executor
    threads: int
    check: Callable[[], None] = lambda: None

    def run(self, asked: Sequence[Asked]) -> None:
        """Run the trials; one whose process broke counts as failed, with what it said last."""
        jobs = [self._job(one) for one in asked]
        results = run_jobs(jobs, self.search.jobs, self.executor, on_change=lambda _: self.check())
        for one, result in zip(asked, results, strict=True):
            directory = self.search.trial(one.number)
            if read_record(directory) is None:
                TrialRecord(
                    one.number, "failed", one.params, reason=result.reason, seconds=result.seconds
                ).write(directory)

    def _job(self, asked: Asked) -> Job:
        path = str(self.search.path.absolute())
        directory = self.search.trial(asked.number)
        command = ("holotype.search.run_trial", path, str(asked.number))
        return Job(
            f"trial {asked.number}", (command,), directory.path / "process.log", self.threads
        )
