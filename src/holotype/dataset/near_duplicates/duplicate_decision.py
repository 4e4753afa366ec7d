"""Decide which measured pairs are near-duplicates.

A pair is one if its largest difference is small, small beside the contrast of the image (two dark
frames are no evidence), and far smaller than the next difference of either image: the ratio test of
Lowe 2004, "Distinctive image features from scale-invariant keypoints". Nearest images that differ
gradually, each a little more than the one before, are similar specimens and not copies. Below
`unconditional_limit` no ratio is asked; the smaller the difference, the smaller the ratio.

At half resolution, where compression noise is smoothed away, the same is asked again.

Shape suffixes: N pairs, P images, A images of pairs that may be near-duplicates.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import WHOLE
from holotype.dataset.near_duplicates.overlays import measure_without_overlays
from holotype.dataset.near_duplicates.pair_measurements import PairMeasurements, measure_pairs
from holotype.dataset.near_duplicates.resize_blur_dct import Floats
from holotype.dataset.near_duplicates.resize_recompress import (
    have_different_sizes,
    measure_reproductions,
)
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_DECISION = DEFAULT.decision


@dataclass(frozen=True, eq=False)
class DuplicateEvidence:
    """What was measured of N pairs: as they are, and without overlays."""

    candidates: Candidates
    plain: PairMeasurements
    without_overlays: PairMeasurements

    @classmethod
    def measure(cls, records: NDArray[np.void], candidates: Candidates) -> "DuplicateEvidence":
        plain = measure_pairs(records, candidates)
        return cls(candidates, plain, measure_without_overlays(records, candidates, plain))

    def with_reproductions(
        self, records: NDArray[np.void], lower_bound_P: Floats
    ) -> "DuplicateEvidence":
        """Try to reproduce one image of a doubtful pair from the other; see `resize_recompress`."""
        is_copy_N, _ = self.fit_decision(lower_bound_P)
        limit = _DECISION.reproduction_limit
        ratio_test = _RatioTest.of(self.candidates, self.plain.difference_N, lower_bound_P, limit)
        limit_N = np.where(
            have_different_sizes(records, self.candidates),
            ratio_test.limits(limit, _DECISION.reproduction_ratio_resized),
            ratio_test.limits(limit, _DECISION.reproduction_ratio),
        )
        is_doubtful_N = ~is_copy_N & self.candidates.is_upright
        is_doubtful_N &= self.plain.difference_N <= limit_N
        doubtful = np.flatnonzero(is_doubtful_N)
        return replace(
            self, plain=measure_reproductions(records, self.candidates, self.plain, doubtful)
        )

    def with_pairs(self, records: NDArray[np.void], others: Candidates) -> "DuplicateEvidence":
        """Add pairs that are measured as they are, all of them at full resolution."""
        unmeasured = PairMeasurements.unmeasured(others)
        plain = measure_pairs(records, others, full_resolution=True)
        return DuplicateEvidence(
            Candidates.concat([self.candidates, others]),
            PairMeasurements.concat([self.plain, plain]),
            PairMeasurements.concat([self.without_overlays, unmeasured]),
        )

    def fit_decision(self, lower_bound_P: Floats) -> tuple[NDArray[np.bool_], PairMeasurements]:
        """Which pairs are near-duplicates, and the measurements that each decision rests on.

        Args:
            lower_bound_P: for every image the least difference of its pruned pairs.
        """
        is_copy_N = are_near_duplicates(self.plain, self.candidates, lower_bound_P)
        is_covered_copy_N = ~is_copy_N & are_near_duplicates(
            self.without_overlays, self.candidates, lower_bound_P, self.plain
        )
        measured = self.without_overlays.where(is_covered_copy_N, self.plain)
        return is_copy_N | is_covered_copy_N, measured


def are_near_duplicates(
    measured: PairMeasurements,
    candidates: Candidates,
    lower_bound_P: Floats,
    with_overlays: PairMeasurements | None = None,
) -> NDArray[np.bool_]:
    """Which pairs are near-duplicates by their difference, contrast, colour and the ratio test.

    Args:
        lower_bound_P: for every image the least difference of its pruned pairs.
        with_overlays: given when `measured` leaves overlays out: the same pairs as they are. The
            ratio test then takes the smaller of both differences, and loose limits do not apply.
    """
    limits, contrast_N = _DECISION, measured.contrast_N
    compared_N, loose_limit = measured.difference_N, limits.loose_limit
    if with_overlays is not None:
        compared_N, loose_limit = np.minimum(compared_N, with_overlays.difference_N), 0.0
    ratio_test = _RatioTest.of(candidates, compared_N, lower_bound_P, limits.loose_limit)
    small_N = limits.unconditional_contrast_share * contrast_N
    fine_N = np.minimum(ratio_test.limits(loose_limit, limits.fine_ratio), small_N)
    limit_N = np.maximum(
        ratio_test.limits(limits.close_limit, limits.close_ratio),
        ratio_test.limits(loose_limit, limits.loose_ratio),
    )
    limit_N = np.maximum(fine_N, np.minimum(limit_N, limits.max_contrast_share * contrast_N))
    # An image that was reproduced differs by rounding alone.
    unconditional_N = np.where(
        measured.reproduced_by_N > 0, small_N, np.minimum(limits.unconditional_limit, small_N)
    )
    is_near_N = measured.difference_N <= np.maximum(limit_N, unconditional_N)
    if with_overlays is None:
        is_near_N |= _differ_by_noise(measured, candidates, lower_bound_P)
    is_near_N &= (measured.gain_N > limits.min_gain) & (measured.gain_N < limits.max_gain)
    return np.asarray(is_near_N & (measured.colour_N <= limits.max_chroma_difference))


def _differ_by_noise(
    measured: PairMeasurements, candidates: Candidates, lower_bound_P: Floats
) -> NDArray[np.bool_]:
    """Which whole images are near at half resolution, and differ by compression noise at full."""
    low, high = _DECISION.half_resolution_limits
    contrast_N, difference_N = measured.contrast_N, measured.half_resolution_difference_N
    ratio_test = _RatioTest.of(candidates, difference_N, lower_bound_P, high)
    limit_N = np.clip(_DECISION.half_resolution_contrast_share * contrast_N, low, high)
    limit_N = np.minimum(limit_N, _DECISION.half_resolution_max_contrast_share * contrast_N)
    limit_N = np.minimum(limit_N, ratio_test.limits(high, _DECISION.half_resolution_ratio))
    is_noise_N = (difference_N <= limit_N) & (measured.difference_N <= _DECISION.max_noise)
    return np.asarray(is_noise_N & (candidates.region == WHOLE))


@dataclass(frozen=True, eq=False)
class _RatioTest:
    """All differences of the images of possible near-duplicates.

    Attributes:
        images_2N: both images of all pairs.
        queried_A: images of pairs that may be near-duplicates.
        differences: of each of them, sorted.
        lower_bound_P: for every image the least difference of its pruned pairs.
    """

    images_2N: NDArray[np.int64]
    queried_A: NDArray[np.int64]
    differences: list[list[float]]
    lower_bound_P: Floats

    @classmethod
    def of(
        cls, candidates: Candidates, difference_N: Floats, lower_bound_P: Floats, max_limit: float
    ) -> "_RatioTest":
        """A test for limits up to `max_limit`; images without such a pair are left out."""
        images_2N = np.stack([candidates.fixed, candidates.moving])
        is_queried_P = np.zeros(len(lower_bound_P), bool)
        is_queried_P[images_2N[:, difference_N <= max_limit]] = True
        rows = np.flatnonzero(is_queried_P[images_2N.ravel()])
        images, differences = images_2N.ravel()[rows], np.tile(difference_N, 2)[rows]
        order = np.lexsort((differences, images))
        queried_A = np.flatnonzero(is_queried_P)
        ends = np.searchsorted(images[order], queried_A[1:])
        by_image = [part.tolist() for part in np.split(differences[order], ends)]
        return cls(images_2N, queried_A, by_image, lower_bound_P)

    def limits(self, limit: float, ratio: float) -> Floats:
        """For every pair the lower limit of its two images; 0 for images that are left out."""
        limit_P = np.zeros(len(self.lower_bound_P))
        limit_P[self.queried_A] = [
            _ratio_test_limit(differences, limit, ratio, lower_bound)
            for differences, lower_bound in zip(
                self.differences, self.lower_bound_P[self.queried_A].tolist(), strict=False
            )
        ]
        return np.asarray(limit_P[self.images_2N].min(0))


def _ratio_test_limit(
    differences: list[float], limit: float, ratio: float, lower_bound: float
) -> float:
    """The largest difference up to `limit` whose successor is at least `ratio` times as large.

    Pruned pairs differ by at least `lower_bound`, or by as much as the difference in question.
    """
    reached = 0.0
    for this, following in zip(differences, [*differences[1:], np.inf], strict=True):
        if this > limit:
            break
        if min(following, max(lower_bound, this)) >= ratio * this:
            reached = this
    return reached
