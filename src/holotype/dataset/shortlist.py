"""Of many candidates the few that come nearest when two pictures are roughly laid upon each other.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import (
    INNER,
    LOWER,
    PARTS,
    UPPER,
    VIEWS,
    WHOLE,
    Candidates,
    first_of_each,
    numbered,
    ranks,
)
from holotype.dataset.registration import (
    Registered,
    judged,
    largest,
    register,
    stays_below,
    tangent_remainder,
)
from holotype.dataset.thumbnails import Floats, grey_at, smoothing

_SIDE, _STEPS, _MARGIN = 16, 2, 2
_LISTED = 10  # per picture; of 4,000 planted copies the worst was eighth
# Differences in contrasts that a copy stays below: of the picture turned, as it is or cropped, and
# by parts within a frame and above or below a text. Of 5,102 pairs of copies that were found with
# one limit for all (ELPV and slices of the seeds 7 and 11, MNIST of 7) the worst had 0.044, 0.121,
# 0.086 and 0.031.
_TURNED_LIMIT, _LIMITS = 0.07, {WHOLE: 0.13, INNER: 0.1, UPPER: 0.05, LOWER: 0.05}
_MOST_TO_MEAN = 1.36  # the same for most places; nearly all that one limit lets pass the other does
_MOST = 0.7  # of the places; the others may be covered by a frame or a text
# With a text in one half, so many places of the whole must still be alike under the fit of the
# other half: of 86 planted ones (seeds 7 and 11) one is above, of 3,697 synthetic pairs fewer
# than 1 % below.
_REST, _REST_LIMIT = 0.6, 0.18
_CAP = 0.25  # in the mean no place counts for more, so that a line of text is no hindrance
# The largest difference of a pair that is left out is estimated: so many times the mean one for
# every 16 pixels of its side. Different cells and digits (seed 7) have 3 and 1.6 in the middle.
# At 3 two cells of ELPV (2360 and 2361) that an earlier look took for sister wafers became copies
# in a part of the set; digits have fewer places to differ at.
_LEAST_PEAK, _PEAK_SIDE = 2.75, 48  # of pictures of so many pixels; of smaller ones less
_BATCH = 192


@dataclass(frozen=True, eq=False)
class Left:
    """Pairs that were left out.

    Attributes:
        pairs: of two pictures once.
        least_N: the least difference, in grey levels as `verification` measures them: estimated.
    """

    pairs: Candidates
    least_N: Floats

    def beyond(self, num_images: int) -> Floats:
        """For every picture the least difference that was left out; infinite where nothing was."""
        beyond_P = np.full(num_images, np.inf, np.float32)
        for pictures_N in (self.pairs.still, self.pairs.moving):
            np.minimum.at(beyond_P, pictures_N, self.least_N)
        return beyond_P

    def of(self, pictures: NDArray[np.int64]) -> Candidates:
        """The pairs of some pictures."""
        is_one = np.isin(self.pairs.still, pictures) | np.isin(self.pairs.moving, pictures)
        return self.pairs.where(is_one)


def shortlisted(records: NDArray[np.void], found: Candidates) -> tuple[Candidates, Left]:
    """Of every picture the few candidates that come nearest when they are roughly registered.

    Returns:
        The pairs that are among the nearest of one of their two pictures, or look most alike as
        they are; and what was left out.
    """
    if not len(records):
        return found, Left(found, np.empty(0, np.float32))
    grey_NRK = np.concatenate(
        [grey_at(records[s : s + _BATCH], _SIDE) for s in range(0, len(records), _BATCH)]
    )
    difference_N = np.empty(len(found.still), np.float32)
    contrast_N = np.empty(len(found.still), np.float32)
    is_near_N = np.zeros(len(found.still), bool)
    window_N4, apart_N = np.empty_like(found.window_P4), np.empty_like(found.apart_P)

    def look(pairs: NDArray[np.int64]) -> None:
        rough = _looked_at(grey_NRK, found.where(pairs))
        difference_N[pairs], contrast_N[pairs], is_near_N[pairs] = rough[:3]
        window_N4[pairs], apart_N[pairs] = rough[3:]

    with ThreadPoolExecutor(max_workers=2) as threads:
        list(threads.map(look, _batches(found)))
    once = _once(found, difference_N, is_near_N)
    found = replace(found, window_P4=window_N4, apart_P=apart_N).where(once)
    difference_N, contrast_N, is_near_N = difference_N[once], contrast_N[once], is_near_N[once]
    pictures_2N = np.stack([found.still, found.moving])
    orderly_N = np.where(is_near_N, difference_N, np.inf)
    rank_2N = ranks(pictures_2N.ravel(), np.tile(orderly_N, 2)).reshape(2, -1)
    # What looks most alike as it is says how far apart different pictures of this data set are.
    listed_N = is_near_N & ((rank_2N.min(0) < _LISTED) | (found.view == 0))
    sides = np.minimum(records["rows"], records["columns"]).astype(np.float32)
    side_N = sides[pictures_2N].min(0)
    peak_N = _LEAST_PEAK * np.minimum(1, side_N / _PEAK_SIDE)
    least_N = difference_N * contrast_N * peak_N * side_N / _SIDE
    return found.where(listed_N), Left(found.where(~listed_N), least_N[~listed_N])


def _once(
    found: Candidates, difference_N: Floats, is_near_N: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Every two pictures once: as they are, if that will do, or by the part that explains most."""
    limit_N = np.array([_LIMITS[part] for part in range(len(PARTS))])[found.part]
    is_as_it_is_N = is_near_N & (found.view == 0)
    keys = (~is_near_N, ~is_as_it_is_N, difference_N / limit_N)
    return np.sort(first_of_each(numbered(found.still, found.moving), *keys))


def _batches(found: Candidates) -> list[NDArray[np.int64]]:
    """Pairs through one view at a time, so that one window serves them all."""
    order = np.argsort(found.view, kind="stable")
    ends = np.searchsorted(found.view[order], np.arange(1, len(VIEWS)))
    return [
        of_view[start : start + _BATCH]
        for of_view in np.split(order, ends)
        for start in range(0, len(of_view), _BATCH)
    ]


def _looked_at(
    grey_NRK: Floats, found: Candidates
) -> tuple[Floats, Floats, NDArray[np.bool_], Floats, Floats]:
    """Of pairs through one view the mean difference in contrasts, the contrast in grey levels,
    whether the difference is small enough for a copy, the window, and the largest difference.

    Most pairs are told by one linear fit; only what is left of them is laid upon each other.
    """
    view = VIEWS[found.view[0]]
    limit = _LIMITS[view.part] if view.is_upright else _TURNED_LIMIT
    smooth = smoothing(_SIDE, 1.0)
    if view.part == INNER:  # what may be a frame is painted over before it is smeared
        inside = np.clip(np.arange(_SIDE), _MARGIN, _SIDE - 1 - _MARGIN)
        smooth = smooth @ np.eye(_SIDE, dtype=np.float32)[inside]
    whole_NRK = smooth @ grey_NRK[found.still] @ smooth.T
    whole_moving_NRK = smooth @ view.oriented(grey_NRK[found.moving]) @ smooth.T
    top, bottom = 0, _SIDE
    if view.part in (UPPER, LOWER):
        top, bottom = (round(_SIDE * edge) for edge in PARTS[view.part][:2])
    still_NRK, moving_NRK = whole_NRK[:, top:bottom], whole_moving_NRK[:, top:bottom]
    window_N4, apart_N = found.window_P4.copy(), found.apart_P.copy()
    margin = _MARGIN / _SIDE  # a crop lacks what lay outside
    contrast_N = np.maximum(still_NRK.std((1, 2)), 1)
    if view.part == INNER:  # a bright frame may be all that is seen at so few pixels
        for pictures in (found.still, found.moving):
            contrast_N = np.maximum(contrast_N, grey_NRK[pictures].std((1, 2)))
    remainder_NRK, shared_1RK = tangent_remainder(
        still_NRK, moving_NRK, window_N4[:1], margin=margin
    )
    mean_N, most_N = _differences(remainder_NRK, shared_1RK, contrast_N)
    is_near_N = (mean_N < limit) & (most_N < _MOST_TO_MEAN * limit)
    near = np.flatnonzero(is_near_N)
    if len(near):
        fit = register(
            still_NRK[near], moving_NRK[near], window_N4[near], steps=_STEPS, margin=margin
        )
        mean_N[near], most_N = _differences(fit.remainder_NRK, fit.shared_NRK, contrast_N[near])
        is_near_N[near] = (mean_N[near] < limit) & (most_N < _MOST_TO_MEAN * limit)
        if view.part in (UPPER, LOWER):
            middle_N11 = still_NRK[near].mean((1, 2), keepdims=True)
            is_near_N[near] &= (
                _rest(whole_NRK[near] - middle_N11, whole_moving_NRK[near] - middle_N11, fit)
                < _REST_LIMIT
            )
        elif view.part == WHOLE:
            window_N4[near], apart_N[near] = fit.window_N4, largest(judged(fit))
    return mean_N, contrast_N, is_near_N, window_N4, apart_N


def _differences(
    remainder_NRK: Floats, shared_NRK: Floats, contrast_N: Floats
) -> tuple[Floats, Floats]:
    """In contrasts: the mean difference, large ones cut off, and what most places stay below."""
    relative_NRK = np.abs(remainder_NRK) / contrast_N[:, None, None]
    total_N = (np.minimum(relative_NRK, _CAP) * shared_NRK).sum((1, 2))
    most_N = stays_below(relative_NRK, _MOST, margin=_MARGIN)
    return total_N / np.maximum(shared_NRK.sum((1, 2)), 1), most_N


def _rest(still_NRK: Floats, moving_NRK: Floats, fit: Registered) -> Floats:
    """In contrasts, what most of all places stay below with the gain and offset of one half."""
    gain_N11, offset_N11 = fit.gain_N[:, None, None], fit.offset_N[:, None, None]
    contrast_N11 = np.maximum(still_NRK.std((1, 2), keepdims=True), 1)
    relative_NRK = np.abs(still_NRK - offset_N11 - gain_N11 * moving_NRK) / contrast_N11
    return stays_below(relative_NRK, _REST, margin=_MARGIN)
