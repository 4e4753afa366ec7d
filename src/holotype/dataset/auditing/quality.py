"""Find images that are uniform, dark, bright, blurred, without detail or of an odd shape.

What is dark among photographs may be normal among solar cells. So apart from uniform images, a
value must be both poor in itself and far from the median of the data set.

Shape suffixes: N images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.audit_fingerprints import MOST_UNUSED_BITS, Fingerprints
from holotype.dataset.auditing.robust_z_score import robust_z_below_median
from holotype.imaging.significant_bits import FULL_BITS
from holotype.progress import pluralize

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
# Rules (limit of the value, robust z-score below the median), of which one must hold: poor and very
# far from the median, for data sets of similar images; or very poor and far, for mixed ones.
_LOG_OFFSET = 1e-3  # to the sharpness, before its logarithm
_DARK = ((90.0, 4.75), (40.0, 2.5))  # grey levels of 255
_BRIGHT = ((-215.0, 5.0), (-225.0, 2.5))  # grey levels of 255, negated
_BLURRED = ((math.inf, 5.0), (math.log(0.06 + _LOG_OFFSET), 2.0))  # log sharpness
_LITTLE_DETAIL = ((3.0, 6.5),)  # bits
_LONG = ((-math.log(1.9), 5.0),)  # log of the aspect ratio over the median one, negated
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


def find_quality_issues(fingerprints: Fingerprints) -> list[QualityIssue]:
    """Quality issues sorted by problem, the worst first.

    An `almost_uniform` image may also be dark or bright, but is not reported as blurred or
    without detail.
    """
    if not fingerprints.paths:
        return []
    deviation_N, percentile_5_N, percentile_99_N, entropy_N = _grey_statistics(fingerprints)
    uniform = _almost_uniform(fingerprints, deviation_N)
    if len(fingerprints.paths) < _MIN_IMAGES:
        return uniform
    sharpness_N = fingerprints.records["sharpness"].astype(np.float64)
    width_N, height_N = (
        fingerprints.records[name].astype(np.float64) for name in ("width", "height")
    )
    elongation_N = np.abs(np.log(width_N / height_N))  # whatever the orientation
    exposed = [
        *_far_below_median(
            fingerprints.paths, "dark", percentile_99_N, _DARK, _MIN_SPREAD,
            lambda level, usual: f"99th percentile of grey levels {level:.0f} of 255; "
            f"median {usual:.0f}",
        ),
        *_far_below_median(
            fingerprints.paths, "bright", -percentile_5_N, _BRIGHT, _MIN_SPREAD,
            lambda level, usual: f"5th percentile of grey levels {-level:.0f} of 255; "
            f"median {-usual:.0f}",
        ),
    ]  # fmt: skip
    little_detail = _far_below_median(
        fingerprints.paths, "low_information", entropy_N, _LITTLE_DETAIL, _MIN_SPREAD_BITS,
        lambda bits, usual: f"entropy {bits:.1f} bits per pixel; median {usual:.1f}",
    )  # fmt: skip
    blurred = _far_below_median(
        fingerprints.paths, "blurred", np.log(sharpness_N + _LOG_OFFSET), _BLURRED, _MIN_SPREAD_LOG,
        lambda log, usual: f"sharpness {math.exp(log - usual):.0%} of the median",
    )  # fmt: skip
    elongated = _far_below_median(
        fingerprints.paths, "odd_aspect", np.median(elongation_N) - elongation_N, _LONG,
        _MIN_SPREAD_LOG,
        lambda log, _: f"aspect ratio {math.exp(-log):.1f} times the median",
    )  # fmt: skip
    flat = {issue.path for issue in uniform}
    flat_or_exposed = flat | {issue.path for issue in exposed}
    found = [
        *uniform, *exposed, *elongated,
        *(issue for issue in little_detail if issue.path not in flat_or_exposed),
        *(issue for issue in blurred if issue.path not in flat),
    ]  # fmt: skip
    return sorted(found, key=lambda issue: (issue.problem, -issue.distance, issue.path))


def unused_range(fingerprints: Fingerprints) -> str:
    """A sentence where images of 16 bits use a quarter of their range or less; else ""."""
    images, used = int(fingerprints.is_deep_N.sum()), fingerprints.used_bits
    if not images:
        return ""
    largest = int(fingerprints.records["largest"].max())
    if fingerprints.bits < FULL_BITS:
        are = "is" if images == 1 else "are"
        return (
            f"{pluralize(images, 'image')} of 16 bits {are} read with {fingerprints.bits} "
            f"significant bits (largest value {largest:,}): --set bits=16 takes all 16."
        )
    if used > MOST_UNUSED_BITS:
        return ""
    use = "uses" if images == 1 else "use"
    return (
        f"{pluralize(images, 'image')} of 16 bits {use} 1/{2 ** (16 - used)} of their range "
        f"(largest value {largest:,}): only {pluralize(2 ** (used - 8), 'grey level')} of 256 "
        f"{'is' if used == 8 else 'are'} left. If they are of {used} bits, --set bits={used}."
    )


def _grey_statistics(fingerprints: Fingerprints) -> Floats:
    """(4, N): standard deviation, 5th and 99th percentile of grey levels, entropy in bits."""
    rows = []
    for record in fingerprints.records:
        grey = record["grey"][: record["rows"], : record["columns"]]
        counts = np.bincount(grey.ravel(), minlength=256)
        share = counts[counts > 0] / grey.size
        percentiles = np.searchsorted(np.cumsum(counts) / grey.size, (0.05, 0.99))
        rows.append((grey.std(), *percentiles, -float(share @ np.log2(share))))
    return np.array(rows, np.float64).T


def _almost_uniform(fingerprints: Fingerprints, deviation_N: Floats) -> list[QualityIssue]:
    found = []
    for path, record, deviation in zip(
        fingerprints.paths, fingerprints.records, deviation_N, strict=True
    ):
        darkest, brightest = int(record["darkest"]), int(record["brightest"])
        if brightest - darkest <= _UNIFORM_RANGE or deviation < _UNIFORM_DEVIATION:
            evidence = (
                f"grey levels {darkest} to {brightest} of 255, "
                f"standard deviation {deviation:.1f} at low resolution"
            )
            found.append(QualityIssue(path, "almost_uniform", evidence, math.inf))
    return sorted(found, key=lambda issue: issue.path)


def _far_below_median(
    paths: Sequence[str],
    problem: str,
    values_N: Floats,
    rules: Sequence[tuple[float, float]],
    min_spread: float,
    evidence: Callable[[float, float], str],
) -> list[QualityIssue]:
    """Images whose value is below the limit of a rule and whose z-score exceeds that of the rule.

    Args:
        rules: (limit, z-score); one of them is enough.
        min_spread: see `robust_z_below_median`.
        evidence: from the value and the median.
    """
    below_N, median = robust_z_below_median(values_N, min_spread=min_spread)
    is_poor_N = np.any([(values_N < limit) & (below_N > z) for limit, z in rules], axis=0)
    return [
        QualityIssue(paths[n], problem, evidence(values_N[n], median), float(below_N[n]))
        for n in np.flatnonzero(is_poor_N).tolist()
    ]
