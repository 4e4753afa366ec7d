"""Tests of several classifiers on the same images: what differs by more than chance?

What is independent decides here too. Where images have groups, a group is one observation: a
thousand slices of five specimens count as five.

- two classifiers, images independent and of equal weight: McNemar's exact test;
- otherwise: a permutation test that swaps the two classifiers' answers on whole units;
- all classifiers at once: Cochran's Q, or its permutation form;
- every pair: Holm's correction, so that the chance of naming any difference where there is none
  stays below 5 % for the whole table.

Shape suffixes: N images, M classifiers, U units (images or groups), R draws, P pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import SamplingUnits, t_quantile

Floats = NDArray[np.float64]

NUM_PERMUTATIONS = 20_000
MAX_EXACT_UNITS = 14  # up to here every one of the 2^U swaps is looked at
_HELD_VALUES = 4_000_000  # draws × units held at once
_TOLERANCE = 1e-9  # two sums of the same weights in another order are equal


@dataclass(frozen=True)
class PairedTest:
    """Two classifiers on the same images.

    Attributes:
        first, second: their numbers.
        difference: accuracy of the second minus that of the first, weighted as the images are.
        low, high: of the difference, 95 %.
        p_value: of no difference, two-sided, as if this were the only pair.
        adjusted_p_value: the same after Holm's correction over all pairs; see `apply_gatekeeping`
            too.
        method: the test, in words for a reader.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    method: str


@dataclass(frozen=True)
class OverallTest:
    """All classifiers at once: is any of them different?"""

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
        correct_MN: whether classifier m was right about image n.
        weights_N: of the images; their scale does not matter.
        units: which images belong together.
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
        method = f"paired permutation test over {units.count} {_unit_name(units)}"
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
        num_permutations: of the permutation form; as many as a few seconds allow unless said
            otherwise.
        others: as for `compare_pairs`.

    Source:
        Cochran 1950, "The comparison of percentages in matched samples", Biometrika 37. With
        groups or weights the same question is put to permutations of the classifiers within units.
    """
    if _is_simple(weights_N, units):
        return cochran_q(correct_MN)
    sums_MU = np.stack([_over_units(correct_N * weights_N, units) for correct_N in correct_MN])
    return _permuted_q(sums_MU / weights_N.sum(), units, seed, num_permutations)


def apply_gatekeeping(tests: Sequence[PairedTest], overall: OverallTest) -> list[PairedTest]:
    """The same tests, where no pair is clearer than the test of all together.

    So one claim, of whatever kind, is made about equal classifiers at most 5 times in 100: pairs
    and the overall test, each at 5 %, would together err more often.
    """
    return [
        replace(test, adjusted_p_value=max(test.adjusted_p_value, overall.p_value))
        for test in tests
    ]


def mcnemar_exact(gain_N: Floats) -> float:
    """The two-sided p-value of the images that only one of two classifiers got right.

    Args:
        gain_N: 1 where only the second was right, -1 where only the first was, else 0.

    Source:
        McNemar 1947, Psychometrika 12; exact form: the sign test on discordant images.
    """
    from scipy.stats import binomtest

    better, worse = int((gain_N > 0).sum()), int((gain_N < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def sign_flip_test(
    sums_U: Floats, *, seed: int = 0, num_permutations: int = NUM_PERMUTATIONS
) -> float:
    """The two-sided p-value of a sum over units, each of which could as well have had either sign.

    All 2^U signs are tried where they are few; otherwise `num_permutations` of them, the observed
    one counted among them, so that the p-value is never 0 and never too small (Phipson & Smyth
    2010).

    Source:
        Fisher 1935, "The Design of Experiments", §21; with groups: Winkler et al. 2014.
    """
    return sign_flip_tests([sums_U], seed=seed, num_permutations=num_permutations)[0]


def sign_flip_tests(
    sums: Sequence[Floats], *, seed: int = 0, num_permutations: int = NUM_PERMUTATIONS
) -> list[float]:
    """`sign_flip_test` of several sums over the same units, which share their draws."""
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
    """How many draws of signs give at least the observed sum."""
    sums_UP = np.ascontiguousarray(sums_PU[:, (sums_PU != 0).any(axis=0)].T)
    U = len(sums_UP)
    rng = np.random.default_rng(seed)
    step = max(1, min(num_permutations, _HELD_VALUES // U))
    extreme_P = np.zeros(len(sums_PU), np.int64)
    for start in range(0, num_permutations, step):
        size = min(step, num_permutations - start)
        signs_RU = rng.integers(0, 2, size=(size, U), dtype=np.int8) * 2.0 - 1.0
        extreme_P += (np.abs(signs_RU @ sums_UP) >= observed_P).sum(axis=0)
    return extreme_P


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a whole family of tests.

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

    Half an image won and half an image lost are added, so that two classifiers that never
    disagreed do not seem to be equal for certain (Agresti & Min 2005, "Simple improved confidence
    intervals for comparing matched proportions"); the variance is that of a weighted mean over
    units, with the t quantile of what the units are worth.
    """
    total = float(weights_N.sum())
    value = float(weights_N @ gain_N) / total
    share_U = _over_units(weights_N / total, units)
    gain_U = _over_units(weights_N * gain_N / total, units)
    worth = 1.0 / float(share_U @ share_U)  # Kish's number of equal units
    variance = float(((gain_U - value * share_U) ** 2).sum())
    images = total**2 / float(weights_N @ weights_N)
    variance = variance * worth / max(worth - 1, 1.0) + 1 / (images + 2) ** 2
    half = t_quantile(max(1, round(worth) - 1)) * math.sqrt(variance)
    return value, max(-1.0, value - half), min(1.0, value + half)


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


def ranks(tests: Sequence[PairedTest], count: int, level: float = 0.05) -> list[tuple[int, int]]:
    """Between which ranks each classifier may stand: (best, worst), 1 is the top.

    A classifier stands below another only where their pair differs by more than chance, so that
    classifiers which cannot be told apart share their ranks.
    """
    above, below = [0] * count, [0] * count
    for test in tests:
        if test.adjusted_p_value < level:
            won, lost = (
                (test.second, test.first) if test.difference > 0 else (test.first, test.second)
            )
            above[lost] += 1
            below[won] += 1
    return [(1 + a, count - b) for a, b in zip(above, below, strict=True)]


def _permuted_q(
    share_MU: Floats, units: SamplingUnits, seed: int, num_permutations: int | None
) -> OverallTest:
    """The spread of the classifiers' accuracies, among permutations within units."""
    M, U = share_MU.shape
    rng = np.random.default_rng(seed)

    def spread(share: Floats) -> float:
        accuracy_M = share.sum(axis=1)
        return float(((accuracy_M - accuracy_M.mean()) ** 2).sum())

    observed = spread(share_MU)
    num_permutations = num_permutations or max(
        999, min(NUM_PERMUTATIONS // 4, _HELD_VALUES * 20 // (M * U))
    )
    extreme = sum(
        spread(rng.permuted(share_MU, axis=0)) >= observed - _TOLERANCE * observed - 1e-18
        for _ in range(num_permutations)
    )
    method = f"permutation test over {units.count} {_unit_name(units)}"
    return OverallTest(observed, (extreme + 1) / (num_permutations + 1), method)


def _is_simple(weights_N: Floats, units: SamplingUnits) -> bool:
    """Whether images are independent and of equal weight."""
    return not units.grouped and bool(np.allclose(weights_N, weights_N[:1]))


def _over_units(values_N: Floats, units: SamplingUnits) -> Floats:
    """The sum of a value over the images of every unit."""
    return np.asarray(np.bincount(units.unit_N, values_N, minlength=units.count), np.float64)


def _unit_name(units: SamplingUnits) -> str:
    return "groups" if units.grouped else "images"


def _all_signs(count: int) -> Floats:
    numbers = np.arange(2**count)[:, None]
    return np.asarray((numbers >> np.arange(count) & 1) * 2.0 - 1.0, np.float64)
