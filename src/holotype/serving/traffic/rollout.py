"""A gradual rollout: the share of the challenger grows while nothing speaks against it."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from holotype.errors import UsageError

RolloutState = Literal["running", "complete", "stopped"]


@dataclass(frozen=True)
class RolloutPlan:
    """Which shares, and what each has to last.

    Attributes:
        percentages: of the requests that the challenger answers, rising, such as 5, 25, 100.
        stage_hours: the shortest time at each.
        stage_requests: the fewest requests that the challenger must have answered at each.
    """

    percentages: tuple[float, ...]
    stage_hours: float = 1.0
    stage_requests: int = 100

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.percentages, self.percentages[1:], strict=False))
        if not (self.percentages and rising and 0 < self.percentages[0] <= self.percentages[-1]):
            raise UsageError(
                f"--rollout is {_words(self.percentages)}; expected rising percentages, "
                "such as 5,25,100."
            )
        if self.percentages[-1] > 100 or self.stage_hours < 0 or self.stage_requests < 1:
            raise UsageError(
                f"--rollout is {_words(self.percentages)} with {self.stage_hours} hours and "
                f"{self.stage_requests} requests a stage; expected at most 100 percent, and no "
                "negative numbers."
            )


@dataclass
class Rollout:
    """Where a rollout is.

    Attributes:
        stage: which percentage, from 0.
        since_s: when this stage began, in seconds since 1970.
        requests: that the challenger answered in this stage.
        state: `stopped` sends every request to the champion, for good.
        reason: why it was stopped, or why it does not go on.
    """

    plan: RolloutPlan
    stage: int = 0
    since_s: float = field(default_factory=time.time)
    requests: int = 0
    state: RolloutState = "running"
    reason: str = ""

    @property
    def share(self) -> float:
        """Of the requests that the challenger answers, in [0, 1]."""
        return 0.0 if self.state == "stopped" else self.plan.percentages[self.stage] / 100

    def decide(self, *, is_worse: bool, is_mismatch: bool) -> bool:
        """Stop, hold or go on; called now and then.

        Args:
            is_worse: whether the sequential test says that the challenger is worse.
            is_mismatch: whether the sample ratio is not what was set.

        Returns:
            Whether anything changed.
        """
        before = (self.stage, self.state, self.reason)
        if self.state == "stopped":
            return False
        if is_worse:
            self.state, self.reason = "stopped", "the challenger is worse"
        elif is_mismatch:
            self.reason = "held: the arms do not get the shares that were set"
        elif self.state == "running":
            self.reason = ""
            self._go_on()
        return before != (self.stage, self.state, self.reason)

    def to_json(self) -> dict[str, Any]:
        return {
            "percentages": list(self.plan.percentages),
            "stage": self.stage,
            "since_s": self.since_s,
            "requests": self.requests,
            "state": self.state,
            "reason": self.reason,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where another process was; with another plan a rollout begins anew.

        Raises:
            ValueError, TypeError, KeyError: the fields are not those of `to_json`.
        """
        if saved["percentages"] != list(self.plan.percentages):
            return
        stage, state = int(saved["stage"]), saved["state"]
        if not 0 <= stage < len(self.plan.percentages) or state not in get_args(RolloutState):
            raise ValueError(f"stage {stage}, state {state!r}")
        since_s, requests = float(saved["since_s"]), int(saved["requests"])
        self.stage, self.state, self.since_s = stage, state, since_s
        self.requests, self.reason = requests, str(saved["reason"])

    def _go_on(self) -> None:
        lasted = time.time() - self.since_s >= self.plan.stage_hours * 3600
        if not lasted or self.requests < self.plan.stage_requests:
            return
        if self.stage == len(self.plan.percentages) - 1:
            self.state = "complete"
            return
        self.stage += 1
        self.since_s, self.requests = time.time(), 0


def percentages(words: str) -> tuple[float, ...]:
    """The percentages of `5,25,100`; none of an empty text.

    Raises:
        UsageError: they are no numbers.
    """
    try:
        return tuple(float(word) for word in words.split(",")) if words else ()
    except ValueError:
        raise UsageError(
            f"--rollout is {words!r}; expected rising percentages, such as 5,25,100."
        ) from None


def _words(percentages: tuple[float, ...]) -> str:
    return ",".join(f"{each:g}" for each in percentages) or "empty"
