"""Significance tests of the accuracies of several classifiers on the same images.

Where images have groups, a group is one observation: a thousand slices of five specimens count as
five.

- two classifiers, images independent and of equal weight: McNemar's exact test;
- otherwise: a permutation test that swaps the predictions of the two classifiers on whole units;
- all classifiers at once: Cochran's Q, or its permutation form;
- every pair: Holm's correction, so that the probability of any false difference stays below 5 %
  for the whole table.

Shape suffixes: N images, M classifiers, U units (images or groups), R permutations, P pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import SamplingUnits, jackknife_variance, t_quantile

Floats = NDArray[np.float64]

SIGNIFICANCE_LEVEL = 0.05
NUM_PERMUTATIONS = 20_000
MAX_EXACT_UNITS = 14  # up to here all 2^U swaps are tried
_MAX_VALUES_IN_MEMORY = 4_000_000  # permutations × units at once
_TOLERANCE = 1e-9  # two sums of the same weights in another order are equal


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same images.

    Attributes:
        first, second: the numbers of the classifiers.
        difference: accuracy of the second minus that of the first, weighted as the images are.
        low, high: the 95 % interval of the difference.
        p_value: two-sided, of this pair alone.
        adjusted_p_value: after Holm's correction over all pairs and `apply_gatekeeping`.
        method: the name of the test.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    method: str

    @property
    def is_significant(self) -> bool:
        return self.adjusted_p_value < SIGNIFICANCE_LEVEL

    def reversed(self) -> "PairedTest":
        """The same test with the two classifiers in the other order."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
        )


@dataclass(frozen=True)
class OverallTest:
    """The test whether any of several classifiers differs from the others."""

    statistic: float
    p_value: float
    method: str


def compare_pairs(
    correct_MN: NDArray[np.bool_],
    weights_N: Floats,
    units: SamplingUnits,
    *,
    seed: int = 0,
    num_permutations: int = NUM_PERMUTATIONS,
) -> list[PairedTest]:
    """Every pair of classifiers, Holm-corrected over all of them.

    Args:
        correct_MN: whether classifier m is correct on image n.
        weights_N: of the images, on any scale.
        units: the independent units of the images.
        seed, num_permutations: of the permutation test, where there are too many units to try all
            swaps.
    """
    pairs = list(combinations(range(len(correct_MN)), 2))
    gains = [correct_MN[second].astype(np.float64) - correct_MN[first] for first, second in pairs]
    if _is_simple(weights_N, units):
        p_values, method = [mcnemar_exact(gain_N) for gain_N in gains], "McNemar's exact test"
    else:
        sums = [_over_units(gain_N * weights_N, units) for gain_N in gains]
        p_values = sign_flip_tests(sums, seed=seed, num_permutations=num_permutations)
        method = f"paired permutation test over {units.count} {units.noun}"
    return [
        PairedTest(*pair, *difference_interval(gain_N, weights_N, units), p, adjusted, method)
        for pair, gain_N, p, adjusted in zip(pairs, gains, p_values, holm(p_values), strict=True)
    ]


def compare_all(
    correct_MN: NDArray[np.bool_],
    weights_N: Floats,
    units: SamplingUnits,
    *,
    seed: int = 0,
    num_permutations: int | None = None,
) -> OverallTest:
    """Whether any classifier differs from the others.

    Args:
        num_permutations: of the permutation form; by default as many as take a few seconds.
        others: as for `compare_pairs`.

    Source:
        Cochran 1950, "The comparison of percentages in matched samples", Biometrika 37. With
        groups or weights its distribution is that over permutations of the classifiers within
        units.
    """
    if _is_simple(weights_N, units):
        return cochran_q(correct_MN)
    sums_MU = np.stack([_over_units(correct_N * weights_N, units) for correct_N in correct_MN])
    return _permuted_q(sums_MU / weights_N.sum(), units, seed, num_permutations)


def apply_gatekeeping(tests: Sequence[PairedTest], overall: OverallTest) -> list[PairedTest]:
    """Raise the adjusted p-values of all pairs to that of the overall test where they are lower.

    Pairs and the overall test, each at 5 %, would together give more than 5 % of false claims.
    """
    return [
        replace(test, adjusted_p_value=max(test.adjusted_p_value, overall.p_value))
        for test in tests
    ]


def mcnemar_exact(gain_N: Floats) -> float:
    """The two-sided p-value of the images on which one of two classifiers alone is correct.

    Args:
        gain_N: 1 where only the second is correct, -1 where only the first is, else 0.

    Source:
        McNemar 1947, Psychometrika 12; exact form: the sign test on discordant images.
    """
    from scipy.stats import binomtest

    better, worse = int((gain_N > 0).sum()), int((gain_N < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def sign_flip_tests(
    sums: Sequence[Floats], *, seed: int = 0, num_permutations: int = NUM_PERMUTATIONS
) -> list[float]:
    """Two-sided p-values of sums over units, each of which could as well have had either sign.

    All 2^U signs are tried where there are at most 14 units that differ; otherwise
    `num_permutations` random ones, which all sums share, with the observed one counted among them,
    so that no p-value is 0 (Phipson & Smyth 2010).

    Source:
        Fisher 1935, "The Design of Experiments", §21; with groups: Winkler et al. 2014.
    """
    sums_PU = np.stack(sums) if sums else np.zeros((0, 0))
    sums_PU = np.where(np.abs(sums_PU) > _TOLERANCE, sums_PU, 0.0)
    observed_P = np.abs(sums_PU.sum(axis=1)) - _TOLERANCE
    num_nonzero_P = (sums_PU != 0).sum(axis=1)
    p_values = np.ones(len(sums_PU))
    for pair in np.flatnonzero((num_nonzero_P > 0) & (num_nonzero_P <= MAX_EXACT_UNITS)):
        nonzero_U = sums_PU[pair][sums_PU[pair] != 0]
        swapped_R = np.abs(_all_signs(len(nonzero_U)) @ nonzero_U)
        p_values[pair] = np.mean(swapped_R >= observed_P[pair])
    many = np.flatnonzero(num_nonzero_P > MAX_EXACT_UNITS)
    if len(many):
        extreme_P = _extreme(sums_PU[many], observed_P[many], seed, num_permutations)
        p_values[many] = (extreme_P + 1) / (num_permutations + 1)
    return [float(p) for p in p_values]


def _extreme(
    sums_PU: Floats, observed_P: Floats, seed: int, num_permutations: int
) -> NDArray[np.int64]:
    """How many random signs give at least the observed sum."""
    sums_UP = np.ascontiguousarray(sums_PU[:, (sums_PU != 0).any(axis=0)].T)
    U = len(sums_UP)
    rng = np.random.default_rng(seed)
    step = max(1, min(num_permutations, _MAX_VALUES_IN_MEMORY // U))
    extreme_P = np.zeros(len(sums_PU), np.int64)
    for start in range(0, num_permutations, step):
        size = min(step, num_permutations - start)
        signs_RU = rng.integers(0, 2, size=(size, U), dtype=np.int8) * 2.0 - 1.0
        extreme_P += (np.abs(signs_RU @ sums_UP) >= observed_P).sum(axis=0)
    return extreme_P


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    count = len(p_values)
    adjusted = [1.0] * count
    largest = 0.0
    for rank, number in enumerate(sorted(range(count), key=lambda n: p_values[n])):
        largest = max(largest, min(1.0, (count - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def difference_interval(
    gain_N: Floats, weights_N: Floats, units: SamplingUnits
) -> tuple[float, float, float]:
    """Weighted mean of the gains with its 95 % interval, (value, low, high).

    The variance is that of the jackknife over units, with the t quantile of their effective number
    (Kish); with one unit the interval is [-1, 1]. Half an image won and half an image lost are
    added, so that the interval of two classifiers that never disagree has a width (Agresti & Min
    2005, "Simple improved confidence intervals for comparing matched proportions").
    """
    value, deviation, degrees = _mean_gain(gain_N, weights_N, units)
    half = t_quantile(degrees) * deviation
    return value, max(-1.0, value - half), min(1.0, value + half)


def gain_at_least(gain_N: Floats, weights_N: Floats, units: SamplingUnits) -> tuple[float, float]:
    """Weighted mean of the gains with its lower bound, one-sided 95 %: a test of non-inferiority.

    The deviation is that of `difference_interval`.
    """
    from scipy.special import stdtrit

    value, deviation, degrees = _mean_gain(gain_N, weights_N, units)
    return value, max(-1.0, value - float(stdtrit(degrees, 1 - SIGNIFICANCE_LEVEL)) * deviation)


def _mean_gain(gain_N: Floats, weights_N: Floats, units: SamplingUnits) -> tuple[float, float, int]:
    """The weighted mean of the gains, its standard deviation, and its degrees of freedom."""
    total = float(weights_N.sum())
    value = float(weights_N @ gain_N) / total
    share_U = _over_units(weights_N / total, units)
    gain_U = _over_units(weights_N * gain_N / total, units)
    gain_U, share_U = gain_U[share_U > 0], share_U[share_U > 0]
    if len(share_U) < 2:
        return value, math.inf, 1  # one group says nothing of others
    num_effective = 1.0 / float(share_U @ share_U)
    variance = jackknife_variance(value, (value - gain_U) / (1 - share_U))
    images = total**2 / float(weights_N @ weights_N)
    variance += 1 / (images + 2) ** 2
    return value, math.sqrt(variance), max(1, round(num_effective) - 1)


def cochran_q(correct_MN: NDArray[np.bool_]) -> OverallTest:
    """Cochran's Q on independent images of equal weight, by its chi-squared distribution."""
    from scipy.stats import chi2

    M = len(correct_MN)
    by_classifier_M = correct_MN.sum(axis=1).astype(np.float64)
    by_image_N = correct_MN.sum(axis=0).astype(np.float64)
    spread = float((by_image_N * (M - by_image_N)).sum())
    method = "Cochran's Q"
    if spread == 0:
        return OverallTest(0.0, 1.0, method)
    deviation = float(((by_classifier_M - by_classifier_M.mean()) ** 2).sum())
    statistic = M * (M - 1) * deviation / spread
    return OverallTest(statistic, float(chi2.sf(statistic, M - 1)), method)


def ranks(tests: Sequence[PairedTest], count: int) -> list[tuple[int, int]]:
    """The best and the worst possible rank of each of `count` classifiers; 1 is the top.

    A classifier ranks below another only where their difference is significant.
    """
    above, below = [0] * count, [0] * count
    for test in tests:
        if test.is_significant:
            better = test if test.difference > 0 else test.reversed()
            above[better.first] += 1
            below[better.second] += 1
    return [(1 + a, count - b) for a, b in zip(above, below, strict=True)]


def _permuted_q(
    share_MU: Floats, units: SamplingUnits, seed: int, num_permutations: int | None
) -> OverallTest:
    """The variance of the classifiers' accuracies among permutations within units."""
    M, U = share_MU.shape
    rng = np.random.default_rng(seed)

    def spread(share: Floats) -> float:
        accuracy_M = share.sum(axis=1)
        return float(((accuracy_M - accuracy_M.mean()) ** 2).sum())

    observed = spread(share_MU)
    num_permutations = num_permutations or max(
        999, min(NUM_PERMUTATIONS // 4, _MAX_VALUES_IN_MEMORY * 20 // (M * U))
    )
    extreme = sum(
        spread(rng.permuted(share_MU, axis=0)) >= observed - _TOLERANCE * observed - 1e-18
        for _ in range(num_permutations)
    )
    method = f"permutation test over {units.count} {units.noun}"
    return OverallTest(observed, (extreme + 1) / (num_permutations + 1), method)


def _is_simple(weights_N: Floats, units: SamplingUnits) -> bool:
    """Whether images are independent and of equal weight."""
    return not units.grouped and bool(np.allclose(weights_N, weights_N[:1]))


def _over_units(values_N: Floats, units: SamplingUnits) -> Floats:
    """The sum of a value over the images of each unit."""
    return np.asarray(np.bincount(units.unit_N, values_N, minlength=units.count), np.float64)


def _all_signs(count: int) -> Floats:
    numbers = np.arange(2**count)[:, None]
    return np.asarray((numbers >> np.arange(count) & 1) * 2.0 - 1.0, np.float64)
