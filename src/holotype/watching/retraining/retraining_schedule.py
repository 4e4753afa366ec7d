"""When a retraining runs, and for how long."""

import os
import time
from dataclasses import dataclass
from typing import Literal

from holotype.arguments import check_fields
from holotype.search.running import parse_duration


@dataclass(frozen=True, kw_only=True)
class RetrainingSchedule:
    """When a retraining runs, and for how long.

    Attributes:
        when: `always`, or only where watching says that there is an `alarm`.
        watch: the folder of the watch, or its watch.json.
        every: again and again after so long, such as `1d` or `6h`; None runs once.
        budget: time for one retraining, such as `2h`; what is not done then is done by the next.

    Raises:
        UsageError: an unknown value, or what is no duration.
    """

    when: Literal["always", "alarm"] = "always"
    watch: str | os.PathLike[str] = "watch"
    every: str | None = None
    budget: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for duration in (self.every, self.budget):
            if duration is not None:
                parse_duration(duration)

    @property
    def every_seconds(self) -> float | None:
        return None if self.every is None else parse_duration(self.every)

    def deadline_s(self) -> float | None:
        """Of `time.monotonic()`, when the budget is used up; None without one."""
        return None if self.budget is None else time.monotonic() + parse_duration(self.budget)
