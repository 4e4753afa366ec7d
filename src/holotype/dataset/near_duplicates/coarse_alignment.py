"""Of many candidates the few that come nearest when two images are roughly laid upon each other.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import (
    Candidates,
    first_of_each,
    pair_ids,
    rank_within_groups,
)
from holotype.dataset.near_duplicates.copy_transforms import (
    INNER,
    LOWER,
    REGIONS,
    TRANSFORMS,
    UPPER,
    WHOLE,
)
from holotype.dataset.near_duplicates.downscale import Floats, gaussian_matrix, resize_grey
from holotype.dataset.near_duplicates.registration import (
    Registration,
    difference_quantile,
    max_difference,
    register,
    smoothed_difference,
    tangent_residual,
)

_SIDE, _STEPS, _MARGIN = 16, 2, 2
_MAX_SHORTLISTED = 10  # per image; of 4,000 planted copies the worst was eighth
# Differences in contrasts that a copy stays below: of the image turned, as it is or cropped, and
# by parts within a frame and above or below a text. Of 5,102 pairs of copies that were found with
# one limit for all (ELPV and slices of the seeds 7 and 11, MNIST of 7) the worst had 0.044, 0.121,
# 0.086 and 0.031.
_ORIENTED_LIMIT, _REGION_LIMITS = 0.07, {WHOLE: 0.13, INNER: 0.1, UPPER: 0.05, LOWER: 0.05}
_QUANTILE_TO_MEAN = (
    1.36  # the same for most places; nearly all that one limit lets pass the other does
)
_QUANTILE = 0.7  # of the places; the others may be covered by a frame or a text
# With a text in one half, so many places of the whole must still be alike under the fit of the
# other half: of 86 planted ones (seeds 7 and 11) one is above, of 3,697 synthetic pairs fewer
# than 1 % below.
_OUTSIDE_TEXT_QUANTILE, _OUTSIDE_TEXT_LIMIT = 0.6, 0.18
_DIFFERENCE_CAP = (
    0.25  # in the mean no place counts for more, so that a line of text is no hindrance
)
# The largest difference of a pair that is left out is estimated: so many times the mean one for
# every 16 pixels of its side. Different cells and digits (seed 7) have 3 and 1.6 in the middle.
# At 3 two cells of ELPV (2360 and 2361) that an earlier look took for sister wafers became copies
# in a part of the set; digits have fewer places to differ at.
_PEAK_TO_MEAN, _PEAK_SIDE = 2.75, 48  # of images of so many pixels; of smaller ones less
_BATCH = 192


@dataclass(frozen=True, eq=False)
class PrunedPairs:
    """Pairs that were left out.

    Attributes:
        pairs: of two images once.
        lower_bound_N: the least difference, in grey levels as `verification` measures them:
            estimated.
    """

    pairs: Candidates
    lower_bound_N: Floats

    def lower_bounds(self, num_images: int) -> Floats:
        """For every image the least difference that was left out; infinite where nothing was."""
        lower_bound_P = np.full(num_images, np.inf, np.float32)
        for images_N in (self.pairs.fixed, self.pairs.moving):
            np.minimum.at(lower_bound_P, images_N, self.lower_bound_N)
        return lower_bound_P

    def involving(self, images: NDArray[np.int64]) -> Candidates:
        """The pairs of some images."""
        is_one = np.isin(self.pairs.fixed, images) | np.isin(self.pairs.moving, images)
        return self.pairs.select(is_one)


def coarse_match(
    records: NDArray[np.void], candidates: Candidates
) -> tuple[Candidates, PrunedPairs]:
    """Of every image the few candidates that come nearest when they are roughly registered.

    Returns:
        The pairs that are among the nearest of one of their two images, or look most alike as
        they are; and what was left out.
    """
    if not len(records):
        return candidates, PrunedPairs(candidates, np.empty(0, np.float32))
    grey_NRK = np.concatenate(
        [resize_grey(records[s : s + _BATCH], _SIDE) for s in range(0, len(records), _BATCH)]
    )
    difference_N = np.empty(len(candidates.fixed), np.float32)
    contrast_N = np.empty(len(candidates.fixed), np.float32)
    is_near_N = np.zeros(len(candidates.fixed), bool)
    window_N4, coarse_difference_N = (
        np.empty_like(candidates.window_P4),
        np.empty_like(candidates.coarse_difference_P),
    )

    def match_batch(pairs: NDArray[np.int64]) -> None:
        rough = _coarse_differences(grey_NRK, candidates.select(pairs))
        difference_N[pairs], contrast_N[pairs], is_near_N[pairs] = rough[:3]
        window_N4[pairs], coarse_difference_N[pairs] = rough[3:]

    with ThreadPoolExecutor(max_workers=2) as threads:
        list(threads.map(match_batch, _batches(candidates)))
    once = _best_per_pair(candidates, difference_N, is_near_N)
    candidates = replace(
        candidates, window_P4=window_N4, coarse_difference_P=coarse_difference_N
    ).select(once)
    difference_N, contrast_N, is_near_N = difference_N[once], contrast_N[once], is_near_N[once]
    images_2N = np.stack([candidates.fixed, candidates.moving])
    masked_difference_N = np.where(is_near_N, difference_N, np.inf)
    rank_2N = rank_within_groups(images_2N.ravel(), np.tile(masked_difference_N, 2)).reshape(2, -1)
    # What looks most alike as it is says how far apart different images of this data set are.
    is_shortlisted_N = is_near_N & (
        (rank_2N.min(0) < _MAX_SHORTLISTED) | (candidates.transform == 0)
    )
    sides = np.minimum(records["rows"], records["columns"]).astype(np.float32)
    side_N = sides[images_2N].min(0)
    peak_N = _PEAK_TO_MEAN * np.minimum(1, side_N / _PEAK_SIDE)
    lower_bound_N = difference_N * contrast_N * peak_N * side_N / _SIDE
    return candidates.select(is_shortlisted_N), PrunedPairs(
        candidates.select(~is_shortlisted_N), lower_bound_N[~is_shortlisted_N]
    )


def _best_per_pair(
    candidates: Candidates, difference_N: Floats, is_near_N: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Every two images once: as they are, if that will do, or by the region that explains most."""
    limit_N = np.array([_REGION_LIMITS[region] for region in range(len(REGIONS))])[
        candidates.region
    ]
    is_as_it_is_N = is_near_N & (candidates.transform == 0)
    keys = (~is_near_N, ~is_as_it_is_N, difference_N / limit_N)
    return np.sort(first_of_each(pair_ids(candidates.fixed, candidates.moving), *keys))


def _batches(candidates: Candidates) -> list[NDArray[np.int64]]:
    """Pairs through one transform at a time, so that one window serves them all."""
    order = np.argsort(candidates.transform, kind="stable")
    ends = np.searchsorted(candidates.transform[order], np.arange(1, len(TRANSFORMS)))
    return [
        of_transform[start : start + _BATCH]
        for of_transform in np.split(order, ends)
        for start in range(0, len(of_transform), _BATCH)
    ]


def _coarse_differences(
    grey_NRK: Floats, candidates: Candidates
) -> tuple[Floats, Floats, NDArray[np.bool_], Floats, Floats]:
    """Of pairs through one transform the mean difference in contrasts, the contrast in grey levels,
    whether the difference is small enough for a copy, the window, and the largest difference.

    Most pairs are told by one linear fit; only what is left of them is laid upon each other.
    """
    transform = TRANSFORMS[candidates.transform[0]]
    limit = _REGION_LIMITS[transform.region] if transform.is_upright else _ORIENTED_LIMIT
    smooth = gaussian_matrix(_SIDE, 1.0)
    if transform.region == INNER:  # what may be a frame is painted over before it is smeared
        inside = np.clip(np.arange(_SIDE), _MARGIN, _SIDE - 1 - _MARGIN)
        smooth = smooth @ np.eye(_SIDE, dtype=np.float32)[inside]
    whole_NRK = smooth @ grey_NRK[candidates.fixed] @ smooth.T
    whole_moving_NRK = smooth @ transform.orient(grey_NRK[candidates.moving]) @ smooth.T
    top, bottom = 0, _SIDE
    if transform.region in (UPPER, LOWER):
        top, bottom = (round(_SIDE * edge) for edge in REGIONS[transform.region][:2])
    fixed_NRK, moving_NRK = whole_NRK[:, top:bottom], whole_moving_NRK[:, top:bottom]
    window_N4, coarse_difference_N = (
        candidates.window_P4.copy(),
        candidates.coarse_difference_P.copy(),
    )
    margin = _MARGIN / _SIDE  # a crop lacks what lay outside
    contrast_N = np.maximum(fixed_NRK.std((1, 2)), 1)
    if transform.region == INNER:  # a bright frame may be all that is seen at so few pixels
        for images in (candidates.fixed, candidates.moving):
            contrast_N = np.maximum(contrast_N, grey_NRK[images].std((1, 2)))
    residual_NRK, overlap_1RK = tangent_residual(
        fixed_NRK, moving_NRK, window_N4[:1], margin=margin
    )
    mean_N, quantile_N = _differences(residual_NRK, overlap_1RK, contrast_N)
    is_near_N = (mean_N < limit) & (quantile_N < _QUANTILE_TO_MEAN * limit)
    near = np.flatnonzero(is_near_N)
    if len(near):
        fit = register(
            fixed_NRK[near], moving_NRK[near], window_N4[near], steps=_STEPS, margin=margin
        )
        mean_N[near], quantile_N = _differences(fit.residual_NRK, fit.overlap_NRK, contrast_N[near])
        is_near_N[near] = (mean_N[near] < limit) & (quantile_N < _QUANTILE_TO_MEAN * limit)
        if transform.region in (UPPER, LOWER):
            mean_N11 = fixed_NRK[near].mean((1, 2), keepdims=True)
            is_near_N[near] &= (
                _difference_outside_text(
                    whole_NRK[near] - mean_N11, whole_moving_NRK[near] - mean_N11, fit
                )
                < _OUTSIDE_TEXT_LIMIT
            )
        elif transform.region == WHOLE:
            window_N4[near], coarse_difference_N[near] = (
                fit.window_N4,
                max_difference(smoothed_difference(fit)),
            )
    return mean_N, contrast_N, is_near_N, window_N4, coarse_difference_N


def _differences(
    residual_NRK: Floats, overlap_NRK: Floats, contrast_N: Floats
) -> tuple[Floats, Floats]:
    """In contrasts: the mean difference, large ones cut off, and what most places stay below."""
    relative_NRK = np.abs(residual_NRK) / contrast_N[:, None, None]
    total_N = (np.minimum(relative_NRK, _DIFFERENCE_CAP) * overlap_NRK).sum((1, 2))
    quantile_N = difference_quantile(relative_NRK, _QUANTILE, margin=_MARGIN)
    return total_N / np.maximum(overlap_NRK.sum((1, 2)), 1), quantile_N


def _difference_outside_text(fixed_NRK: Floats, moving_NRK: Floats, fit: Registration) -> Floats:
    """In contrasts, what most of all places stay below with the gain and offset of one half."""
    gain_N11, offset_N11 = fit.gain_N[:, None, None], fit.offset_N[:, None, None]
    contrast_N11 = np.maximum(fixed_NRK.std((1, 2), keepdims=True), 1)
    relative_NRK = np.abs(fixed_NRK - offset_N11 - gain_N11 * moving_NRK) / contrast_N11
    return difference_quantile(relative_NRK, _OUTSIDE_TEXT_QUANTILE, margin=_MARGIN)
