"""Images that are uniform, dark, bright, blurred, without detail or of an odd shape.

What is dark among photographs is the rule among solar cells. So, but for images with hardly any
contrast at all, two things are asked: is it poor in itself, and is it far from what is usual in
*this* data set? Far is told by quartiles, which a quarter of bad images cannot move.

Shape suffixes: N images.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.fingerprints import Fingerprints

# problem -> what to do about it
QUALITY_ADVICE = {
    "almost_uniform": "check that this is an image at all",
    "dark": "check that something can be seen",
    "bright": "check that something can be seen",
    "blurred": "check that what the label names can be seen",
    "low_information": "check that something can be seen",
    "odd_aspect": "check that it was cut or put together as you meant it",
}

_MIN_IMAGES = 10  # of fewer, nobody knows what is usual
_UNIFORM_RANGE = 12  # grey levels between the darkest and the brightest pixel
_UNIFORM_DEVIATION = 0.5  # grey levels, of the image at low resolution
# What is far from the usual: standard deviations, as the quartile on that side of the median tells
# them. Two rules each: poor and very far, for data sets of one kind of image; very poor and far,
# for mixed ones, where nothing is very far from the usual.
_DARK, _VERY_DARK = (90.0, 4.75), (40.0, 2.5)  # grey levels of 255, distance
_BRIGHT, _VERY_BRIGHT = (215.0, 5.0), (225.0, 2.5)
_BLURRED, _VERY_BLURRED = (math.inf, 5.0), (0.06, 2.0)  # sharpness
_LITTLE_DETAIL = (3.0, 6.5)  # bits
_LONG = (1.9, 5.0)  # times as long as the usual image
# Beside images that are more equal than this, not every other one is odd.
_MIN_SPREAD = 8.0  # grey levels
_MIN_SPREAD_BITS = 0.2
_MIN_SPREAD_LOG = 0.1  # of sharpness and of aspect

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QualityIssue:
    """An image that may be of no use.

    Attributes:
        path: of the image.
        problem: a key of `QUALITY_ADVICE`.
        evidence: what was measured, and what is usual in this data set.
        distance: from the usual, in standard deviations; infinite for what is poor whatever
            is usual.
    """

    path: str
    problem: str
    evidence: str
    distance: float


def find_quality_issues(seen: Fingerprints) -> list[QualityIssue]:
    """What deserves a look, sorted by problem and the worst first.

    An image with hardly any contrast is called `almost_uniform` and perhaps dark or bright; it
    is not called blurred or without detail on top of it.
    """
    if not seen.paths:
        return []
    measured = _measure(seen)
    found = _almost_uniform(seen, measured)
    flat = {image.path for image in found}
    if len(seen.paths) >= _MIN_IMAGES:
        exposed = [*_dark(seen, measured), *_bright(seen, measured)]
        already_reported = flat | {image.path for image in exposed}
        found += exposed + _odd_aspect(seen)
        found += [i for i in _low_information(seen, measured) if i.path not in already_reported]
        found += [i for i in _blurred(seen) if i.path not in flat]
    return sorted(found, key=lambda image: (image.problem, -image.distance, image.path))


@dataclass(frozen=True, eq=False)
class _BrightnessStatistics:
    """Of N images at low resolution, grey levels of 255 (`entropy_N`: bits)."""

    deviation_N: Floats
    percentile_5_N: Floats  # 5th percentile
    percentile_99_N: Floats  # 99th percentile
    entropy_N: Floats


def _measure(seen: Fingerprints) -> _BrightnessStatistics:
    rows = []
    for record in seen.records:
        grey = record["grey"][: record["rows"], : record["columns"]]
        counts = np.bincount(grey.ravel(), minlength=256)
        share = counts[counts > 0] / grey.size
        up_to = np.cumsum(counts) / grey.size
        percentile_5, percentile_99 = np.searchsorted(up_to, (0.05, 0.99))
        rows.append(
            (float(grey.std()), percentile_5, percentile_99, -float(share @ np.log2(share)))
        )
    return _BrightnessStatistics(*np.array(rows, np.float64).T)


def _almost_uniform(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    found = []
    for path, record, deviation in zip(seen.paths, seen.records, measured.deviation_N, strict=True):
        darkest, brightest = int(record["darkest"]), int(record["brightest"])
        if brightest - darkest <= _UNIFORM_RANGE or deviation < _UNIFORM_DEVIATION:
            evidence = (
                f"pixels from {darkest} to {brightest} of 255, "
                f"deviation {deviation:.1f} at low resolution"
            )
            found.append(QualityIssue(path, "almost_uniform", evidence, math.inf))
    return found


def _dark(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    percentile_99_N = measured.percentile_99_N
    below_N, usual = _robust_z_below_median(percentile_99_N, _MIN_SPREAD)
    return [
        QualityIssue(
            seen.paths[n],
            "dark",
            f"99 % of it is at most {percentile_99_N[n]:.0f} of 255; usual here is {usual:.0f}",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(percentile_99_N, below_N, _DARK, _VERY_DARK)
    ]


def _bright(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    percentile_5_N = measured.percentile_5_N
    above_N, usual = _robust_z_below_median(-percentile_5_N, _MIN_SPREAD)
    rules = [(-level, distance) for level, distance in (_BRIGHT, _VERY_BRIGHT)]
    return [
        QualityIssue(
            seen.paths[n],
            "bright",
            f"95 % of it is at least {percentile_5_N[n]:.0f} of 255; usual here is {-usual:.0f}",
            float(above_N[n]),
        )
        for n in _rows_matching_any_rule(-percentile_5_N, above_N, *rules)
    ]


def _low_information(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    bits_N = measured.entropy_N
    below_N, usual = _robust_z_below_median(bits_N, _MIN_SPREAD_BITS)
    return [
        QualityIssue(
            seen.paths[n],
            "low_information",
            f"its grey levels hold {bits_N[n]:.1f} bits a pixel; usual here are {usual:.1f}",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(bits_N, below_N, _LITTLE_DETAIL)
    ]


def _blurred(seen: Fingerprints) -> list[QualityIssue]:
    sharpness_N = seen.records["sharpness"].astype(np.float64)
    below_N, usual = _robust_z_below_median(np.log(sharpness_N + 1e-3), _MIN_SPREAD_LOG)
    return [
        QualityIssue(
            seen.paths[n],
            "blurred",
            f"its steepest places are {sharpness_N[n] / math.exp(usual):.0%} as steep as usual "
            f"here, {below_N[n]:.1f} standard deviations below",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(sharpness_N, below_N, _BLURRED, _VERY_BLURRED)
    ]


def _odd_aspect(seen: Fingerprints) -> list[QualityIssue]:
    """Lengthy images; upright or across, so that portraits among landscapes are nothing odd."""
    width_N, height_N = (seen.records[side].astype(np.float64) for side in ("width", "height"))
    shape_N = np.abs(np.log(width_N / height_N))
    above_N, usual = _robust_z_below_median(-shape_N, _MIN_SPREAD_LOG)
    longer, distance = _LONG
    return [
        QualityIssue(
            seen.paths[n],
            "odd_aspect",
            f"{width_N[n]:.0f}×{height_N[n]:.0f}, {math.exp(shape_N[n]):.1f} times as long as it "
            f"is wide; usual here is {math.exp(-usual):.1f}",
            float(above_N[n]),
        )
        for n in _rows_matching_any_rule(-shape_N, above_N, (usual - math.log(longer), distance))
    ]


def _rows_matching_any_rule(
    values_N: Floats, below_N: Floats, *rules: tuple[float, float]
) -> NDArray[np.intp]:
    """The images whose value is under a rule's limit and as far below the usual as it says."""
    caught_N = np.zeros(len(values_N), np.bool_)
    for limit, distance in rules:
        caught_N |= (values_N < limit) & (below_N > distance)
    return np.flatnonzero(caught_N)


def _robust_z_below_median(values_N: Floats, min_spread: float) -> tuple[Floats, float]:
    """How far each value lies below the median, in standard deviations, and the median.

    The standard deviation is what the lower quartile would say of a normal distribution.
    """
    quartile, median = np.quantile(values_N, (0.25, 0.5))
    spread = max(float(median - quartile) / 0.6745, min_spread)
    return (median - values_N) / spread, float(median)
