"""Z-scores from the median and a quartile, which outliers cannot move."""

import numpy as np
from numpy.typing import NDArray

_NORMAL_QUARTILE = 0.6745  # standard deviations from the median of a normal distribution


def robust_z_below_median(
    values_N: NDArray[np.float64], *, min_spread: float
) -> tuple[NDArray[np.float64], float]:
    """How many standard deviations each value lies below the median, and the median.

    The standard deviation is that of a normal distribution with the same lower quartile.

    Args:
        values_N: negate them to measure distances above the median.
        min_spread: lower limit of the standard deviation, for values that hardly differ.
    """
    quartile, median = np.quantile(values_N, (0.25, 0.5))
    spread = max(float(median - quartile) / _NORMAL_QUARTILE, min_spread)
    return (median - values_N) / spread, float(median)
