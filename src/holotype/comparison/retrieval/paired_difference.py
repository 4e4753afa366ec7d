"""One score minus another of the same queries, with an interval by identity.

Shape suffixes: Q queries, I individuals.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.bootstrap import ScoreDifference
from holotype.errors import UsageError
from holotype.evaluation.intervals import SamplingUnits, jackknife_variance, t_quantile


def paired_difference(
    first_Q: NDArray[np.float64], second_Q: NDArray[np.float64], identities: Sequence[str]
) -> ScoreDifference:
    """The mean of first - second over queries: of average precisions, or of right and wrong.

    The interval is Student's t with the variance of the jackknife over individuals, whose images
    are easy or hard together; queries that are hard for both do not widen it.

    Args:
        first_Q: of each query; NaN, as of a query without an answer, is left out with its pair.
        second_Q: of the same queries.
        identities: Q names, the sampling units.

    Raises:
        UsageError: the lengths differ, or no query is scored by both.

    Source:
        Wolter 2007, "Introduction to Variance Estimation", section 4.

    Example:
        >>> import numpy as np
        >>> better, worse = np.array([1.0, 0.8, 0.9, 1.0]), np.array([0.5, 0.4, 0.4, 0.5])
        >>> print(paired_difference(better, worse, ["ada", "bo", "cy", "di"]))
        +0.475 [+0.395, +0.555]
    """
    if not len(first_Q) == len(second_Q) == len(identities):
        raise UsageError(
            f"{len(first_Q)} and {len(second_Q)} scores of {len(identities)} queries; expected "
            "both of each."
        )
    difference_Q = np.asarray(first_Q, np.float64) - np.asarray(second_Q, np.float64)
    scored_Q = np.isfinite(difference_Q)
    if not scored_Q.any():
        raise UsageError("no query is scored by both; expected at least one with an answer.")
    names = [name for name, scored in zip(identities, scored_Q, strict=True) if scored]
    units = SamplingUnits.of_groups(names)
    kept_Q = difference_Q[scored_Q]
    value = float(kept_Q.mean())
    if units.count < 2:
        return ScoreDifference(value, None, None)
    sum_I = np.bincount(units.unit_N, kept_Q)
    count_I = np.bincount(units.unit_N)
    without_I = (kept_Q.sum() - sum_I) / (len(kept_Q) - count_I)
    half = t_quantile(units.count - 1) * float(np.sqrt(jackknife_variance(value, without_I)))
    return ScoreDifference(value, value - half, value + half)
