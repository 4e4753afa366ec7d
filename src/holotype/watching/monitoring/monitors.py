"""All monitors of a model: what each watches, its part of the chance, and its alarm.

The chance of a false alarm is divided among the monitors, and each raises an alarm by its own
capital (a union bound). Their mean would be a little more powerful, but capitals that are bets on
different ranks of the same images have no common history in which that mean is a fair game.

Shape suffixes: N images, R reference images, B bets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.watching.monitoring.betting import (
    RANK_BETS,
    RATIOS,
    STAKES,
    YEAR_S,
    Capital,
    log_limit_bets_B,
    log_rank_bets_B,
    log_share_bets_B,
)
from holotype.watching.monitoring.score_pool import ScorePool

Floats = NDArray[np.float64]
About = Literal["input", "output", "service"]

CHANCE = 0.05  # that any monitor ever raises an alarm in a year in which nothing changes


@dataclass(frozen=True)
class Watched:
    """What a monitor watches.

    Attributes:
        name: of the score.
        about: of which part it is.
        part: of the chance of a false alarm.
        share: of ones, where the score is 0 or 1; None of other scores.
        limit: the largest share of ones that is no alarm, where there is one to hold; then nothing
            is compared with a reference.
    """

    name: str
    about: About
    part: float
    share: float | None = None
    limit: float | None = None

    @property
    def bets(self) -> int:
        """How many share its capital."""
        if self.limit is not None:
            return len(STAKES)
        return RANK_BETS if self.share is None else len(RATIOS)

    @property
    def needed(self) -> float:
        """The logarithm of the e-value that is an alarm."""
        return float(-np.log(CHANCE * self.part))


@dataclass(eq=False)
class Monitor:
    """One monitor, and what it has seen."""

    watched: Watched
    pool: ScorePool
    capital: Capital

    @property
    def evidence(self) -> float:
        """The logarithm of the e-value as a share of what an alarm needs, at least 0."""
        return max(0.0, self.capital.log_value / self.watched.needed)

    @property
    def alarm(self) -> bool:
        return self.evidence >= 1

    def restart(self) -> None:
        """A new year, or all clear: the bets begin anew, the pool stays."""
        self.capital = Capital.new(len(self.capital.logs_B))


@dataclass(eq=False)
class Monitors:
    """The monitors of one model.

    Attributes:
        each: by name.
        seed: of the places among equal scores.
        windows: how many were taken.
        year_s: how much of the year has passed.
    """

    each: dict[str, Monitor]
    seed: int = 0
    windows: int = 0
    year_s: float = 0.0

    @classmethod
    def new(
        cls, watched: Sequence[Watched], reference: Mapping[str, Floats], seed: int = 0
    ) -> "Monitors":
        """Monitors that have seen the reference.

        Args:
            reference: name -> scores (R) of independent reference images; nan where one has none.
        """
        each = {}
        for one in watched:
            monitor = Monitor(one, ScorePool(), Capital.new(one.bets))
            scores_R = reference.get(one.name, np.empty(0))
            monitor.pool.add(scores_R[np.isfinite(scores_R)])
            each[one.name] = monitor
        return cls(each, seed)

    def update(self, scores: Mapping[str, Floats], elapsed_s: float, *, learn: bool = True) -> None:
        """Take a window of independent images, in the order in which they came.

        Args:
            scores: name -> one number (N) an image; nan where it has none.
            elapsed_s: since the window before.
            learn: whether the images count as quiet later on, unless they raise an alarm.
        """
        self.windows += 1
        self.year_s += elapsed_s
        if self.year_s >= YEAR_S:
            self.restart()
        ties = np.random.default_rng([self.seed, self.windows])
        quiet = []
        for name, monitor in self.each.items():
            ties_N = ties.random(len(scores[name]))
            finite_N = np.isfinite(scores[name])
            scores_N, watched = scores[name][finite_N], monitor.watched
            if watched.limit is not None:
                log_bets_B = log_limit_bets_B(scores_N, watched.limit)
            else:
                ranks_N = monitor.pool.ranks_N(scores_N, ties_N[finite_N])
                if watched.share is None:
                    log_bets_B = log_rank_bets_B(ranks_N)
                else:
                    log_bets_B = log_share_bets_B(ranks_N, watched.share)
                quiet.append((monitor, scores_N))
            monitor.capital.update(log_bets_B, elapsed_s)
        if learn and not any(monitor.alarm for monitor, _ in quiet):
            for monitor, scores_N in quiet:
                monitor.pool.add(scores_N)

    def hold(self, limits: Sequence[Watched]) -> None:
        """Hold against other limits from now on: where one has moved, its bets begin anew."""
        for one in limits:
            if self.each[one.name].watched != one:
                self.each[one.name] = Monitor(one, ScorePool(), Capital.new(one.bets))

    def restart(self) -> None:
        """The bets of a new year."""
        self.year_s = 0.0
        for monitor in self.each.values():
            monitor.restart()

    @property
    def ranked(self) -> list[Monitor]:
        """The most evidence first."""
        return sorted(self.each.values(), key=lambda monitor: -monitor.evidence)

    @property
    def evidence(self) -> float:
        return max((monitor.evidence for monitor in self.each.values()), default=0.0)

    @property
    def alarm(self) -> bool:
        return self.evidence >= 1
