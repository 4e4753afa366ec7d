"""Find images that are uniform, dark, bright, blurred, without detail or of an odd shape.

What is dark among photographs may be normal among solar cells. So apart from uniform images, a
value must be both poor in itself and far from the median of the data set.

Shape suffixes: N images.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.auditing.robust_z_score import robust_z_below_median
from holotype.dataset.fingerprints import Fingerprints

# problem -> what to do
QUALITY_ADVICE = {
    "almost_uniform": "check that it shows anything",
    "dark": "check that it shows what the label says",
    "bright": "check that it shows what the label says",
    "blurred": "check that it shows what the label says",
    "low_information": "check that it shows what the label says",
    "odd_aspect": "check that it was cropped as intended",
}

_MIN_IMAGES = 10  # fewer give no reliable median
_UNIFORM_RANGE = 12  # grey levels between the darkest and the brightest pixel
_UNIFORM_DEVIATION = 0.5  # grey levels, of the image at low resolution
# (limit of the value, robust z-score), both to be exceeded. Up to two rules each: poor and very far
# from the median, for data sets of similar images; very poor and far, for mixed ones.
_DARK, _VERY_DARK = (90.0, 4.75), (40.0, 2.5)  # grey levels of 255
_BRIGHT, _VERY_BRIGHT = (215.0, 5.0), (225.0, 2.5)
_BLURRED, _VERY_BLURRED = (math.inf, 5.0), (0.06, 2.0)  # sharpness
_LITTLE_DETAIL = (3.0, 6.5)  # bits
_LONG = (1.9, 5.0)  # aspect ratio over the median one
# Lower limits of the standard deviation, for data sets whose images hardly differ.
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
        evidence: what was measured, and the median of the data set.
        distance: robust z-score; infinite for `almost_uniform`.
    """

    path: str
    problem: str
    evidence: str
    distance: float


def find_quality_issues(seen: Fingerprints) -> list[QualityIssue]:
    """Quality issues sorted by problem, the worst first.

    An `almost_uniform` image may also be dark or bright, but is not reported as blurred or
    without detail.
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
    """Of N images at low resolution, in grey levels of 255."""

    deviation_N: Floats
    percentile_5_N: Floats
    percentile_99_N: Floats
    entropy_N: Floats  # bits per pixel


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
                f"grey levels {darkest} to {brightest} of 255, "
                f"standard deviation {deviation:.1f} at low resolution"
            )
            found.append(QualityIssue(path, "almost_uniform", evidence, math.inf))
    return found


def _dark(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    percentile_99_N = measured.percentile_99_N
    below_N, usual = robust_z_below_median(percentile_99_N, min_spread=_MIN_SPREAD)
    return [
        QualityIssue(
            seen.paths[n],
            "dark",
            f"99th percentile of grey levels {percentile_99_N[n]:.0f} of 255; median {usual:.0f}",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(percentile_99_N, below_N, _DARK, _VERY_DARK)
    ]


def _bright(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    percentile_5_N = measured.percentile_5_N
    above_N, usual = robust_z_below_median(-percentile_5_N, min_spread=_MIN_SPREAD)
    rules = [(-level, distance) for level, distance in (_BRIGHT, _VERY_BRIGHT)]
    return [
        QualityIssue(
            seen.paths[n],
            "bright",
            f"5th percentile of grey levels {percentile_5_N[n]:.0f} of 255; median {-usual:.0f}",
            float(above_N[n]),
        )
        for n in _rows_matching_any_rule(-percentile_5_N, above_N, *rules)
    ]


def _low_information(seen: Fingerprints, measured: _BrightnessStatistics) -> list[QualityIssue]:
    bits_N = measured.entropy_N
    below_N, usual = robust_z_below_median(bits_N, min_spread=_MIN_SPREAD_BITS)
    return [
        QualityIssue(
            seen.paths[n],
            "low_information",
            f"entropy {bits_N[n]:.1f} bits per pixel; median {usual:.1f}",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(bits_N, below_N, _LITTLE_DETAIL)
    ]


def _blurred(seen: Fingerprints) -> list[QualityIssue]:
    sharpness_N = seen.records["sharpness"].astype(np.float64)
    below_N, usual = robust_z_below_median(np.log(sharpness_N + 1e-3), min_spread=_MIN_SPREAD_LOG)
    return [
        QualityIssue(
            seen.paths[n],
            "blurred",
            f"sharpness {sharpness_N[n] / math.exp(usual):.0%} of the median, {below_N[n]:.1f} "
            "standard deviations below it",
            float(below_N[n]),
        )
        for n in _rows_matching_any_rule(sharpness_N, below_N, _BLURRED, _VERY_BLURRED)
    ]


def _odd_aspect(seen: Fingerprints) -> list[QualityIssue]:
    """Elongated images; the longer side over the shorter, whatever the orientation."""
    width_N, height_N = (seen.records[side].astype(np.float64) for side in ("width", "height"))
    shape_N = np.abs(np.log(width_N / height_N))
    above_N, usual = robust_z_below_median(-shape_N, min_spread=_MIN_SPREAD_LOG)
    longer, distance = _LONG
    return [
        QualityIssue(
            seen.paths[n],
            "odd_aspect",
            f"{width_N[n]:.0f}×{height_N[n]:.0f} pixels, aspect ratio {math.exp(shape_N[n]):.1f}; "
            f"median {math.exp(-usual):.1f}",
            float(above_N[n]),
        )
        for n in _rows_matching_any_rule(-shape_N, above_N, (usual - math.log(longer), distance))
    ]


def _rows_matching_any_rule(
    values_N: Floats, below_N: Floats, *rules: tuple[float, float]
) -> NDArray[np.intp]:
    """The rows whose value is below the limit of a rule and whose z-score exceeds its z-score."""
    caught_N = np.zeros(len(values_N), np.bool_)
    for limit, distance in rules:
        caught_N |= (values_N < limit) & (below_N > distance)
    return np.flatnonzero(caught_N)
