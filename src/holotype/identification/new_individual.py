"""The score below which nobody known is a match: "new individual", at a stated rate of mistakes.

Shape suffixes: N calibration queries of known individuals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import UsageError
from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion


@dataclass(frozen=True)
class NewIndividualThreshold:
    """From which score on a query is somebody known.

    Attributes:
        threshold: a query whose best score is below is called a new individual.
        low: the lower end of the 95 % interval of the threshold, by identity.
        high: its upper end.
        rate: the stated rate of calling a known individual new.
        measured: that rate on the calibration queries, with its interval by identity.
        num_queries: N.
        num_identities: the sampling units of the intervals.
    """

    threshold: float
    low: float
    high: float
    rate: float
    measured: Estimate
    num_queries: int
    num_identities: int

    def is_new(self, best_score: float) -> bool:
        """Whether a query with this best score is called a new individual."""
        return best_score < self.threshold

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "measured": self.measured.to_json()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "NewIndividualThreshold":
        return cls(**{**found, "measured": Estimate(**found["measured"])})


def require_rate(rate: float) -> None:
    """
    Raises:
        UsageError: a rate outside of (0, 1).
    """
    if not 0 < rate < 1:
        raise UsageError(f"rate is {rate!r}, expected a number between 0 and 1, such as 0.05.")


def threshold_for_new(
    known_best_scores_N: NDArray[np.floating] | Sequence[float],
    identities: Sequence[str],
    rate: float,
) -> NewIndividualThreshold:
    """The threshold that calls at most `rate` of further queries of known individuals new.

    It is the k-th lowest calibration score with k = ⌊rate·(N + 1)⌋: of N + 1 exchangeable queries
    one is among the k lowest with probability k/(N + 1) (split conformal). The promise is therefore
    on average over queries like these, of individuals like these. The interval of the threshold is
    that of the share below it, with individuals as the sampling units (Woodruff 1952).

    Args:
        known_best_scores_N: best score of queries whose individual is known, each scored without
            the image itself and without its encounter; larger is more alike; finite.
        identities: N names.
        rate: in (0, 1).

    Raises:
        UsageError: a rate outside of (0, 1), scores that are not finite, lengths that differ, or
            fewer queries than 1/rate - 1: no threshold keeps the rate then.

    Source:
        Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; Woodruff 1952,
        "Confidence Intervals for Medians and Other Position Measures".

    Example:
        >>> scores = [0.5, 0.6, 0.7, 0.8, 0.9, 0.65, 0.75, 0.85, 0.95]
        >>> threshold_for_new(scores, [f"turtle {n}" for n in range(9)], 0.2).threshold
        0.6
    """
    scores_N = np.asarray(known_best_scores_N, np.float64)
    require_rate(rate)
    if len(scores_N) != len(identities):
        raise UsageError(
            f"{len(scores_N)} scores for {len(identities)} identities; expected one per query."
        )
    if not np.isfinite(scores_N).all():
        raise UsageError("a score is not finite; expected a number for every query.")
    N = len(scores_N)
    k = math.floor(rate * (N + 1) + 1e-9)
    if k < 1:
        fewest = math.ceil(1 / rate - 1e-9) - 1
        raise UsageError(
            f"{N} queries of known individuals cannot keep a rate of {rate:g}; expected at least "
            f"{fewest}. Add images of known individuals, or allow a rate of {1 / (N + 1):.2g}."
        )
    sorted_N = np.sort(scores_N)
    threshold = float(sorted_N[k - 1])
    units = SamplingUnits.of_groups(identities)
    measured = proportion(scores_N < threshold, np.ones(N), units)
    spread = proportion(scores_N <= threshold, np.ones(N), units)
    assert spread.low is not None
    assert spread.high is not None
    return NewIndividualThreshold(
        threshold=threshold,
        low=float(sorted_N[max(0, math.floor(spread.low * N) - 1)]),
        high=float(sorted_N[min(N, max(k, math.ceil(spread.high * N))) - 1]),
        rate=rate,
        measured=measured,
        num_queries=N,
        num_identities=units.count,
    )
