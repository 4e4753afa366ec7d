"""Intervals of scores of re-identification, with identities as the sampling units.

Images of one individual are easy or hard together, so individuals are resampled, not images. A mean
of values in [0, 1] takes `evaluation.intervals.proportion`; any other score the function here.

Shape suffixes: N images, R resamples.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import (
    Estimate,
    SamplingUnits,
    bootstrap_variance,
    bootstrap_weights,
    interval_from_variance,
    jackknife_variance,
    jackknife_weights,
    t_quantile,
    undefined,
)

Floats = NDArray[np.float64]


def interval_by_identity(
    measure: Callable[[Floats], Floats],
    units: SamplingUnits,
    *,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> Estimate:
    """A score with its 95 % interval, from its variance over resampled identities.

    With fewer than 30 identities the variance comes from the jackknife, else from the bootstrap.

    Args:
        measure: weights of images, (N, R) -> scores, (R,); NaN where a score is 0/0.
        units: the identity of every image.
        lowest: the smallest possible score.
        highest: the largest possible score.

    Returns:
        The score of all images; undefined where that is 0/0. One identity gives the whole range.
    """
    ones_N = np.ones(len(units.unit_N))
    value = float(measure(ones_N[:, None])[0])
    if not np.isfinite(value):
        return undefined("needs images of both kinds")
    few = units.count < 30
    if units.count < 2:
        return Estimate(value, lowest, highest, "one identity: the interval is unknown")
    if few:
        variance = jackknife_variance(value, measure(jackknife_weights(ones_N, units)))
    else:
        resampled = [measure(weights_NR) for weights_NR in bootstrap_weights(ones_N, units, seed=0)]
        variance = bootstrap_variance(np.concatenate(resampled), units.count)
    if not np.isfinite(variance):
        return Estimate(value, lowest, highest, "rests on one identity: the interval is unknown")
    method = f"{'jackknife' if few else 'bootstrap'} over {units.count} identities"
    return interval_of_range(value, variance, units.count, method, lowest, highest)


def interval_of_range(
    value: float, variance: float, num_identities: int, method: str, lowest: float, highest: float
) -> Estimate:
    """`interval_from_variance` for a score in [lowest, highest]."""
    inner = interval_from_variance(
        value - lowest,
        variance,
        effective=num_identities,
        quantile=t_quantile(num_identities - 1),
        method=method,
        top=highest - lowest,
    )
    assert inner.low is not None
    assert inner.high is not None
    return Estimate(value, inner.low + lowest, inner.high + lowest, method)
