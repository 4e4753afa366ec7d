"""Where a score ranks among all that were seen before: conformal p-values.

As long as images keep coming from one distribution, the rank of each among those before it is
uniform and independent of the earlier ranks (Vovk 2021, "Testing Randomness Online"), whatever the
distribution is. This needs the pool to grow: ranks among a fixed reference are not independent, and
would raise an alarm in the end.

Scores are rounded to 16-bit floats, so that a pool is a table of counts that stays small.

Shape suffixes: N images, V distinct values.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ScorePool:
    """How often each value of one score was seen.

    Args:
        values_V: ascending and distinct.
        counts_V: of each.
    """

    def __init__(
        self, values_V: NDArray[np.float32] | None = None, counts_V: NDArray[np.int64] | None = None
    ) -> None:
        self.values_V = np.empty(0, np.float32) if values_V is None else values_V
        self.counts_V = np.empty(0, np.int64) if counts_V is None else counts_V

    def __len__(self) -> int:
        """How many scores it holds."""
        return int(self.counts_V.sum())

    def add(self, scores_N: Floats) -> None:
        """Take scores that are finite."""
        values_N, counts_N = np.unique(rounded(scores_N), return_counts=True)
        place_N = np.searchsorted(self.values_V, values_N)
        known_N = np.zeros(len(values_N), np.bool_)
        inside_N = place_N < len(self.values_V)
        known_N[inside_N] = self.values_V[place_N[inside_N]] == values_N[inside_N]
        self.counts_V[place_N[known_N]] += counts_N[known_N]
        if not known_N.all():
            self.values_V = np.insert(self.values_V, place_N[~known_N], values_N[~known_N])
            self.counts_V = np.insert(self.counts_V, place_N[~known_N], counts_N[~known_N])

    def ranks_N(self, scores_N: Floats, ties_N: Floats) -> Floats:
        """The rank of each score among the pool and the scores before it, in (0, 1).

        The scores are not taken into the pool.

        Args:
            scores_N: in the order in which they came.
            ties_N: uniform random numbers, which decide the place among equal scores.
        """
        values_N = rounded(scores_N)
        upto_V = np.concatenate([[0], np.cumsum(self.counts_V)])
        lower_N, not_higher_N = _among_earlier(values_N.tolist())
        below_N = upto_V[np.searchsorted(self.values_V, values_N, "left")] + lower_N
        upto_N = upto_V[np.searchsorted(self.values_V, values_N, "right")] + not_higher_N
        size_N = upto_V[-1] + np.arange(len(values_N))
        ranks_N: Floats = (below_N + ties_N * (upto_N - below_N + 1)) / (size_N + 1)
        return ranks_N


def _among_earlier(values: list[float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each value how many before it are lower, and how many are not higher."""
    earlier: list[float] = []
    lower, not_higher = [], []
    for value in values:
        place = bisect_right(earlier, value)
        lower.append(bisect_left(earlier, value))
        not_higher.append(place)
        earlier.insert(place, value)
    return np.array(lower, np.int64), np.array(not_higher, np.int64)


def rounded(scores_N: Floats) -> NDArray[np.float32]:
    """As 16-bit floats, which order and compare as 32-bit ones."""
    largest = float(np.finfo(np.float16).max)
    halves_N = np.clip(scores_N, -largest, largest).astype(np.float16)
    return np.asarray(halves_N, np.float32)
