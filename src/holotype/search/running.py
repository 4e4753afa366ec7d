"""How many jobs run at once, where, and for how long."""

import os
import re
from dataclasses import dataclass

from holotype.bundle.onnx_runtime import available_cores
from holotype.errors import UsageError

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}


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


def parse_duration(text: str) -> float:
    """Seconds of a text such as `90m` or `1h30m`.

    Raises:
        UsageError: it is no duration.
    """
    parts = re.fullmatch(r"\s*((?:\d+(?:\.\d+)?\s*[dhms]\s*)+)", text)
    if not parts:
        raise UsageError(f"{text!r} is no duration; expected such as 90m, 1h or 1h30m.")
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([dhms])", text)
    return sum(float(number) * UNITS_S[unit] for number, unit in found)
