"""When a retraining runs, and for how long."""

import os
import time
from dataclasses import dataclass
from typing import Literal

from holotype.arguments import check_fields
from holotype.watching.log_windows import seconds_in


@dataclass(frozen=True, kw_only=True)
class RetrainingSchedule:
    """When a retraining runs, and for how long.

    Attributes:
        when: `always`, or only where watching says that there is an `alarm`.
        watch: the folder of the watch, or its watch.json; by default `watch-NAME`, as it writes.
        every: again and again after so long, such as `1d` or `6h`; None runs once.
        budget: time for one retraining, such as `2h`; what is not done then is done by the next.

    Raises:
        UsageError: an unknown value, or what is no duration.
    """

    when: Literal["always", "alarm"] = "always"
    watch: str | os.PathLike[str] | None = None
    every: str | None = None
    budget: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.every_seconds, self.deadline_s()

    @property
    def every_seconds(self) -> float | None:
        return None if self.every is None else seconds_in(self.every, "--every")

    def deadline_s(self) -> float | None:
        """Of `time.monotonic()`, when the budget is used up; None without one."""
        if self.budget is None:
            return None
        return time.monotonic() + seconds_in(self.budget, "--budget")
