"""Which of the pairs that were measured are copies.

Shape suffixes: N pairs, P images, A those that are asked for.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import WHOLE
from holotype.dataset.near_duplicates.downscale import Floats
from holotype.dataset.near_duplicates.overlays import measure_without_overlays
from holotype.dataset.near_duplicates.recompression import (
    have_different_sizes,
    measure_reproductions,
)
from holotype.dataset.near_duplicates.verification import (
    CLOSE_LIMIT,
    LOOSE_LIMIT,
    UNCONDITIONAL_LIMIT,
    PairMeasurements,
    measure_pairs,
)

# Differences in grey levels of 255, as in `verification`.
_CLOSE_RATIO, _FINE_RATIO, _LOOSE_RATIO = 2.0, 3.0, 4.0  # fine: small beside the contrast, too
_UNCONDITIONAL_CONTRAST_SHARE, _MAX_CONTRAST_SHARE = (
    0.05,
    0.15,
)  # limits again, as fractions of the image's contrast
# At half the resolution noise, as of compression, is smoothed away, and another image is not.
_HALF_RESOLUTION_LIMITS, _HALF_RESOLUTION_RATIO = (
    (1.5, 2.0),
    4.0,
)  # the second for images of high contrast
_HALF_RESOLUTION_CONTRAST_SHARES = (0.1, 0.04)  # the first bounds both limits
_MAX_NOISE = 5.5  # the largest difference that noise may make
_MAX_CHROMA_DIFFERENCE = 10.0  # levels of chroma
_REPRODUCTION_LIMIT = 8.0  # what the nearest pixels of a resized digit make is within it
_REPRODUCTION_RATIOS = (
    1.1,
    1.3,
)  # of a pair of different sizes, which is soon looked at; of others


@dataclass(frozen=True, eq=False)
class DuplicateEvidence:
    """What was measured of N pairs: as they are, and without what may be drawn over them."""

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
        """The same where what noise hides can be told by doing again what was done."""
        is_copy_N, _ = self.fit_decision(lower_bound_P)
        ratio_test = _RatioTest.of(
            self.candidates, self.plain.difference_N, lower_bound_P, _REPRODUCTION_LIMIT
        )
        limit_2N = [ratio_test.limits(_REPRODUCTION_LIMIT, ratio) for ratio in _REPRODUCTION_RATIOS]
        limit_N = np.where(have_different_sizes(records, self.candidates), *limit_2N)
        is_doubtful_N = ~is_copy_N & self.candidates.is_upright
        is_doubtful_N &= self.plain.difference_N <= limit_N
        doubtful = np.flatnonzero(is_doubtful_N)
        return replace(
            self, plain=measure_reproductions(records, self.candidates, self.plain, doubtful)
        )

    def with_pairs(self, records: NDArray[np.void], others: Candidates) -> "DuplicateEvidence":
        """The same with pairs that are measured as they are, all of them as exactly as can be."""
        plain = measure_pairs(records, others, full_resolution=True)
        return DuplicateEvidence(
            self.candidates.concat(others),
            self.plain.concat(plain),
            self.without_overlays.concat(PairMeasurements.unmeasured(others)),
        )

    def fit_decision(self, lower_bound_P: Floats) -> tuple[NDArray[np.bool_], PairMeasurements]:
        """Which pairs are copies, and what was measured of each in the way that tells.

        Args:
            lower_bound_P: for every image the least difference of those that it was not paired
                with.
        """
        is_copy_N = are_near_duplicates(self.plain, self.candidates, lower_bound_P)
        is_copy_without_overlays_N = ~is_copy_N & are_near_duplicates(
            self.without_overlays, self.candidates, lower_bound_P, self.plain
        )
        return is_copy_N | is_copy_without_overlays_N, self.plain.merge_where(
            self.without_overlays, is_copy_without_overlays_N
        )


def are_near_duplicates(
    measured: PairMeasurements,
    candidates: Candidates,
    lower_bound_P: Floats,
    with_overlays: PairMeasurements | None = None,
) -> NDArray[np.bool_]:
    """Which pairs are small enough in difference, both by themselves and beside others.

    Args:
        lower_bound_P: for every image the least difference of those that are not among the pairs.
        with_overlays: what was measured before something was left out. Others may then be as near
            as either says, and larger differences are not allowed at all.
    """
    contrast_N, context_N, loose_limit = measured.contrast_N, measured.difference_N, LOOSE_LIMIT
    if with_overlays is not None:
        context_N, loose_limit = np.minimum(context_N, with_overlays.difference_N), 0.0
    ratio_test = _RatioTest.of(candidates, context_N, lower_bound_P, LOOSE_LIMIT)
    fine_N = np.minimum(
        ratio_test.limits(loose_limit, _FINE_RATIO), _UNCONDITIONAL_CONTRAST_SHARE * contrast_N
    )
    limit_N = np.maximum(
        ratio_test.limits(CLOSE_LIMIT, _CLOSE_RATIO), ratio_test.limits(loose_limit, _LOOSE_RATIO)
    )
    limit_N = np.maximum(fine_N, np.minimum(limit_N, _MAX_CONTRAST_SHARE * contrast_N))
    sure_N = np.minimum(UNCONDITIONAL_LIMIT, _UNCONDITIONAL_CONTRAST_SHARE * contrast_N)
    # What was done again differs by nothing but rounding.
    sure_N = np.where(
        measured.reproduced_by_N > 0, _UNCONDITIONAL_CONTRAST_SHARE * contrast_N, sure_N
    )
    is_alike_N = measured.difference_N <= np.maximum(limit_N, sure_N)
    if with_overlays is None:
        coarse_ratio_test = _RatioTest.of(
            candidates,
            measured.half_resolution_difference_N,
            lower_bound_P,
            _HALF_RESOLUTION_LIMITS[1],
        )
        coarse_N = np.clip(
            _HALF_RESOLUTION_CONTRAST_SHARES[1] * contrast_N, *_HALF_RESOLUTION_LIMITS
        )
        coarse_N = np.minimum(coarse_N, _HALF_RESOLUTION_CONTRAST_SHARES[0] * contrast_N)
        coarse_N = np.minimum(
            coarse_N, coarse_ratio_test.limits(_HALF_RESOLUTION_LIMITS[1], _HALF_RESOLUTION_RATIO)
        )
        is_noise_N = (measured.half_resolution_difference_N <= coarse_N) & (
            measured.difference_N <= _MAX_NOISE
        )
        is_alike_N |= is_noise_N & (candidates.region == WHOLE)
    is_plausible_N = (measured.gain_N > 0.5) & (measured.gain_N < 2)
    return np.asarray(is_alike_N & is_plausible_N & (measured.colour_N <= _MAX_CHROMA_DIFFERENCE))


@dataclass(frozen=True, eq=False)
class _RatioTest:
    """What images differ from others by, and the least that they may from the rest."""

    images_2N: NDArray[np.int64]
    queried_A: NDArray[np.int64]  # the images of pairs that may be copies
    differences: list[list[float]]  # of each of them, the smallest first
    lower_bound_P: Floats

    @classmethod
    def of(
        cls, candidates: Candidates, difference_N: Floats, lower_bound_P: Floats, most: float
    ) -> "_RatioTest":
        """For pairs that differ by at most so much; no other can be within a limit up to it."""
        images_2N = np.stack([candidates.fixed, candidates.moving])
        is_queried_P = np.zeros(len(lower_bound_P), bool)
        is_queried_P[images_2N[:, difference_N <= most]] = True
        rows = np.flatnonzero(is_queried_P[images_2N.ravel()])
        images, differences = images_2N.ravel()[rows], np.tile(difference_N, 2)[rows]
        order = np.lexsort((differences, images))
        queried_A = np.flatnonzero(is_queried_P)
        ends = np.searchsorted(images[order], queried_A[1:])
        by_image = [part.tolist() for part in np.split(differences[order], ends)]
        return cls(images_2N, queried_A, by_image, lower_bound_P)

    def limits(self, limit: float, ratio: float) -> Floats:
        """For every pair the lower of the limits of its two images; 0 of what is not asked."""
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
    """The largest difference up to `limit` after which the next one is `ratio` times as large.

    What was not looked at is not the next one of a near pair only where it must differ more.
    """
    reached = 0.0
    for this, following in zip(differences, [*differences[1:], np.inf], strict=True):
        if this > limit:
            break
        if min(following, max(lower_bound, this)) >= ratio * this:
            reached = this
    return reached
