"""How many jobs run at once, where, and for how long."""

import os
from dataclasses import dataclass

from holotype.bundle.onnx_runtime import available_cores
from holotype.errors import UsageError
from holotype.progress import parse_duration


@dataclass(frozen=True, kw_only=True)
class Running:
    """How many jobs run at once, where, and for how long.

    Attributes:
        jobs: at once; the cores of this machine are divided among them.
        on: `local`, `ray`, `ray://HOST:PORT` or `slurm`.
        budget: time for the trials of a search, such as `90m` or `1h30m`; the batch that is
            running ends first. None for no limit.

    Raises:
        UsageError: no job at all, or a budget that is no duration.
    """

    jobs: int = 1
    on: str = "local"
    budget: str | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs is {self.jobs}, expected a number above 0.")
        if self.budget is not None:
            parse_duration(self.budget)

    @property
    def budget_seconds(self) -> float | None:
        """The budget as a number."""
        return None if self.budget is None else parse_duration(self.budget)


def threads_per_job(running: Running) -> int:
    """Cores of one job: here a share of this machine's, elsewhere `HOLOTYPE_THREADS`, or 1."""
    if running.on == "local":
        return max(1, available_cores() // running.jobs)
    told = os.environ.get("HOLOTYPE_THREADS", "1")
    return int(told) if told.isdigit() and int(told) > 0 else 1
