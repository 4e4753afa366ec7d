"""Register candidates at 16 by 16 pixels and keep the nearest few of every image.

Most candidates are ruled out by one linear fit; the others are registered.

Shape suffixes: N pairs, P images, R rows and K columns of pixels.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import (
    INNER,
    LOWER,
    REGIONS,
    TRANSFORMS,
    UPPER,
    WHOLE,
)
from holotype.dataset.near_duplicates.pair_arrays import (
    PairColumns,
    first_of_each,
    pair_ids,
    rank_within_groups,
)
from holotype.dataset.near_duplicates.registration import (
    Registration,
    difference_quantile,
    register,
    smoothed_difference,
    tangent_residual,
)
from holotype.dataset.near_duplicates.resize_blur_dct import (
    Floats,
    gaussian_matrix,
    resize_grey,
)
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_COARSE = DEFAULT.coarse
_SIDE = _COARSE.side_px
_MARGIN = _COARSE.margin_px / _SIDE  # a crop lacks what lay outside


@dataclass(frozen=True, eq=False)
class PrunedPairs:
    """Pairs that are not registered further.

    Attributes:
        pairs: each unordered pair once.
        lower_bound_N: estimated least difference in grey levels, as `pair_measurements` does.
    """

    pairs: Candidates
    lower_bound_N: Floats

    def lower_bounds(self, num_images: int) -> Floats:
        """For every image the least bound of its pruned pairs; infinite where there are none."""
        lower_bound_P = np.full(num_images, np.inf, np.float32)
        for images_N in (self.pairs.fixed, self.pairs.moving):
            np.minimum.at(lower_bound_P, images_N, self.lower_bound_N)
        return lower_bound_P

    def involving(self, images: NDArray[np.int64]) -> Candidates:
        """The pruned pairs of some images."""
        is_one = np.isin(self.pairs.fixed, images) | np.isin(self.pairs.moving, images)
        return self.pairs.select(is_one)


@dataclass(frozen=True, eq=False)
class _CoarseFit(PairColumns):
    """What coarse registration measures of N pairs.

    Attributes:
        difference_N: mean difference, in contrasts.
        contrast_N: in grey levels.
        is_near_N: whether the difference is small enough for a near-duplicate.
        window_N4: as `Candidates` has it.
        max_difference_N: largest difference in grey levels; 0 where it was not measured.
    """

    difference_N: Floats
    contrast_N: Floats
    is_near_N: NDArray[np.bool_]
    window_N4: Floats
    max_difference_N: Floats


def coarse_match(
    records: NDArray[np.void], candidates: Candidates
) -> tuple[Candidates, PrunedPairs]:
    """Each unordered pair once, if it is among the nearest of either image, and the others.

    Pairs that are near without any transform are always kept, since they show how much different
    images of this data set differ.
    """
    if not len(candidates):
        return candidates, PrunedPairs(candidates, np.empty(0, np.float32))
    fit = _register_all(records, candidates)
    candidates = replace(
        candidates, window_P4=fit.window_N4, coarse_difference_P=fit.max_difference_N
    )
    once = _best_per_pair(candidates, fit.difference_N, fit.is_near_N)
    candidates, fit = candidates.select(once), fit.select(once)
    images_2N = np.stack([candidates.fixed, candidates.moving])
    near_difference_N = np.where(fit.is_near_N, fit.difference_N, np.inf)
    rank_2N = rank_within_groups(images_2N.ravel(), np.tile(near_difference_N, 2)).reshape(2, -1)
    is_shortlisted_N = fit.is_near_N & (
        (rank_2N.min(0) < _COARSE.max_shortlisted) | (candidates.transform == 0)
    )
    side_N = np.minimum(records["rows"], records["columns"]).astype(np.float32)[images_2N].min(0)
    peak_N = _COARSE.peak_to_mean * np.minimum(1, side_N / _COARSE.peak_side_px)
    lower_bound_N = fit.difference_N * fit.contrast_N * peak_N * side_N / _SIDE
    return candidates.select(is_shortlisted_N), PrunedPairs(
        candidates.select(~is_shortlisted_N), lower_bound_N[~is_shortlisted_N]
    )


def _register_all(records: NDArray[np.void], candidates: Candidates) -> _CoarseFit:
    size = DEFAULT.batches.coarse_pairs
    grey_NRK = np.concatenate(
        [resize_grey(records[s : s + size], _SIDE) for s in range(0, len(records), size)]
    )
    batches = _batches(candidates)
    with ThreadPoolExecutor(max_workers=DEFAULT.batches.num_threads) as threads:
        fits = threads.map(lambda rows: _register(grey_NRK, candidates.select(rows)), batches)
        return _CoarseFit.concat(list(fits)).select(np.argsort(np.concatenate(batches)))


def _batches(candidates: Candidates) -> list[NDArray[np.int64]]:
    """Batches of pairs through one transform, so that one window serves all of them."""
    size = DEFAULT.batches.coarse_pairs
    order = np.argsort(candidates.transform, kind="stable")
    ends = np.searchsorted(candidates.transform[order], np.arange(1, len(TRANSFORMS)))
    return [
        of_transform[start : start + size]
        for of_transform in np.split(order, ends)
        for start in range(0, len(of_transform), size)
    ]


def _best_per_pair(
    candidates: Candidates, difference_N: Floats, is_near_N: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Each unordered pair once: untransformed if that is near, or else by the best region."""
    limit_N = np.array(_COARSE.region_limits)[candidates.region]
    is_near_untransformed_N = is_near_N & (candidates.transform == 0)
    keys = (~is_near_N, ~is_near_untransformed_N, difference_N / limit_N)
    return np.sort(first_of_each(pair_ids(candidates.fixed, candidates.moving), *keys))


def _register(grey_NRK: Floats, candidates: Candidates) -> _CoarseFit:
    """Register pairs through one transform; those that one linear fit rules out stay in place."""
    transform = TRANSFORMS[candidates.transform[0]]
    region, limit = transform.region, _COARSE.oriented_limit
    if transform.is_upright:
        limit = _COARSE.region_limits[region]
    smooth = _smoothing_matrix(region)
    whole_fixed_NRK = smooth @ grey_NRK[candidates.fixed] @ smooth.T
    whole_moving_NRK = smooth @ transform.orient(grey_NRK[candidates.moving]) @ smooth.T
    rows = slice(None)
    if region in (UPPER, LOWER):
        rows = slice(*(round(_SIDE * edge) for edge in REGIONS[region][:2]))
    fixed_NRK, moving_NRK = whole_fixed_NRK[:, rows], whole_moving_NRK[:, rows]
    contrast_N = np.maximum(fixed_NRK.std((1, 2)), _COARSE.min_contrast)
    if region == INNER:  # at this size a bright frame may make up most of the contrast
        for images in (candidates.fixed, candidates.moving):
            contrast_N = np.maximum(contrast_N, grey_NRK[images].std((1, 2)))
    window_N4, max_difference_N = (
        candidates.window_P4.copy(),
        candidates.coarse_difference_P.copy(),
    )
    residual = tangent_residual(fixed_NRK, moving_NRK, window_N4[:1], margin=_MARGIN)
    difference_N, is_near_N = _differences(*residual, contrast_N, limit)
    near = np.flatnonzero(is_near_N)
    if len(near):
        fit = register(
            fixed_NRK[near], moving_NRK[near], window_N4[near], steps=_COARSE.steps, margin=_MARGIN
        )
        difference_N[near], is_near_N[near] = _differences(
            fit.residual_NRK, fit.overlap_NRK, contrast_N[near], limit
        )
        if region in (UPPER, LOWER):
            mean_N11 = fixed_NRK[near].mean((1, 2), keepdims=True)
            outside_N = _difference_outside_text(
                whole_fixed_NRK[near] - mean_N11, whole_moving_NRK[near] - mean_N11, fit
            )
            is_near_N[near] &= outside_N < _COARSE.outside_text_limit
        elif region == WHOLE:
            window_N4[near] = fit.window_N4
            max_difference_N[near] = smoothed_difference(fit).max((1, 2))
    return _CoarseFit(difference_N, contrast_N, is_near_N, window_N4, max_difference_N)


def _smoothing_matrix(region: int) -> Floats:
    smooth = gaussian_matrix(_SIDE, _COARSE.smoothing_px)
    if region == INNER:  # replace what may be a frame by what it borders on, then smooth
        inside = np.clip(np.arange(_SIDE), _COARSE.margin_px, _SIDE - 1 - _COARSE.margin_px)
        smooth = smooth @ np.eye(_SIDE, dtype=np.float32)[inside]
    return smooth


def _differences(
    residual_NRK: Floats, overlap_NRK: Floats, contrast_N: Floats, limit: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean difference in contrasts, large ones capped; whether it and the quantile are small."""
    relative_NRK = np.abs(residual_NRK) / contrast_N[:, None, None]
    total_N = (np.minimum(relative_NRK, _COARSE.difference_cap) * overlap_NRK).sum((1, 2))
    mean_N = total_N / np.maximum(overlap_NRK.sum((1, 2)), 1)
    quantile_N = difference_quantile(relative_NRK, _COARSE.quantile, margin_px=_COARSE.margin_px)
    return mean_N, (mean_N < limit) & (quantile_N < _COARSE.quantile_to_mean * limit)


def _difference_outside_text(fixed_NRK: Floats, moving_NRK: Floats, fit: Registration) -> Floats:
    """Quantile of the difference of whole images, by the gain and offset of a half; contrasts."""
    gain_N11, offset_N11 = fit.gain_N[:, None, None], fit.offset_N[:, None, None]
    contrast_N11 = np.maximum(fixed_NRK.std((1, 2), keepdims=True), _COARSE.min_contrast)
    relative_NRK = np.abs(fixed_NRK - offset_N11 - gain_N11 * moving_NRK) / contrast_N11
    return difference_quantile(
        relative_NRK, _COARSE.outside_text_quantile, margin_px=_COARSE.margin_px
    )
