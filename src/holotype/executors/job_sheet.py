"""A job: command lines of Holotype that run one after the other, and what became of them.

    jobs/sheet.json      the jobs of one call, numbered from 0
    jobs/<number>.json   written by the process of a job: that it runs, and at its end how it ended

Executors differ only in where `run_job` is called for each number; the files are on a path that all
machines share.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from holotype.files import atomic_write, read_json, reading, write_json

JobState = Literal["waiting", "running", "done", "failed"]

# What divides the cores among jobs: each of these is read by one of the libraries.
THREAD_VARIABLES = (
    "HOLOTYPE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip
# What a job on another machine needs of the environment here.
PASSED_ON = ("HOLOTYPE_", "HF_HUB_OFFLINE", "PYTHONPATH", "XDG_CACHE_HOME", "MPLBACKEND")


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        name: unique among the jobs of a call.
        commands: each is a module and its arguments, as `python -m` takes them, such as `holotype`
            and its words. The first that fails ends the job.
        log: what they print is appended to it.
        threads: cores that it may use.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    log: Path
    threads: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a job sets on whatever machine it runs."""
        passed = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(PASSED_ON) and not name.endswith("_PASSWORD")
        }
        return passed | dict.fromkeys(THREAD_VARIABLES, str(self.threads))


@dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Attributes:
        state: where it is.
        seconds: that it took; of its last attempt, where it was requeued.
        reason: why it failed, in a line; else "".
    """

    state: JobState = "waiting"
    seconds: float = 0.0
    reason: str = ""


OnChange = Callable[[Sequence[JobResult]], None]  # told of the jobs of a sheet, in their order


@dataclass(frozen=True)
class JobSheet:
    """The jobs of one call, on disk."""

    directory: Path
    jobs: Sequence[Job] = field(default_factory=tuple)

    @property
    def file(self) -> Path:
        return self.directory / "sheet.json"

    def result_file(self, number: int) -> Path:
        return self.directory / f"{number}.json"

    def write(self) -> None:
        """Write the sheet; results of an earlier call are removed first."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for old in self.directory.glob("*.json"):
            old.unlink()
        rows = [
            {
                "name": job.name,
                "commands": job.commands,
                "log": os.path.abspath(job.log),
                "environment": job.environment,
            }
            for job in self.jobs
        ]
        text = json.dumps({"directory": os.getcwd(), "jobs": rows}, indent=2) + "\n"
        with atomic_write(self.file) as temporary:
            temporary.chmod(0o600)  # the URL of a registry may hold a password
            temporary.write_text(text, "utf-8")

    def results(self) -> list[JobResult]:
        """How far each job is."""
        return [self.result(number) for number in range(len(self.jobs))]

    def result(self, number: int) -> JobResult:
        file = self.result_file(number)
        if not file.is_file():
            return JobResult()
        found = read_json(file)
        with reading(file):
            return JobResult(**found)

    def record(self, number: int, result: JobResult) -> None:
        write_json(self.result_file(number), asdict(result))

    def fail_unfinished(self, number: int, reason: str) -> None:
        """Record a failure where the process of a job did not say itself how it ended."""
        if self.result(number).state in ("waiting", "running"):
            self.record(number, JobResult("failed", reason=reason))


def read_command(sheet: Path, number: int) -> tuple[Path, dict[str, Any]]:
    """The working directory, and the row of one job."""
    written = read_json(sheet)
    with reading(sheet):
        return Path(written["directory"]), written["jobs"][number]
