"""Of many candidates the few that come nearest when two pictures are roughly laid upon each other.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import Candidates, first_windows, oriented
from holotype.dataset.registration import register, tangent_remainder
from holotype.dataset.thumbnails import Floats, grey_at, smoothing

_SIDE, _STEPS, _MARGIN = 16, 2, 2
_LISTED = 10  # per picture; of 4,000 planted copies the worst was eighth
# Differences in contrasts; of 2,369 planted copies (seed 7) two with texts are above them.
_LIMIT, _MOST_LIMIT = 0.14, 0.19
_MOST = 0.7  # of the places; the others may be covered by a frame or a text
_CAP = 0.25  # in the mean no place counts for more, so that a line of text is no hindrance
# The largest difference of a pair that is left out is estimated: so many times the mean one for
# every 16 pixels of its side. Different cells and digits (seed 7) have 3 and 1.6 in the middle.
# At 3.6 two cells of ELPV that an earlier look took for sister wafers would become copies.
_LEAST_PEAK = 3.0
_BATCH = 192


def shortlisted(records: NDArray[np.void], found: Candidates) -> tuple[Candidates, Floats]:
    """Of every picture the few candidates that come nearest when they are roughly registered.

    Returns:
        The pairs that are among the nearest of one of their two pictures, or look most alike as
        they are; and for every picture the least difference, in grey levels as `verification`
        measures them, of what was left out: estimated, infinite where nothing was.
    """
    smooth = smoothing(_SIDE, 1.0)
    grey_NRK = np.empty((len(records), _SIDE, _SIDE), np.float32)
    for start in range(0, len(records), _BATCH):
        block = slice(start, start + _BATCH)
        grey_NRK[block] = smooth @ grey_at(records[block], _SIDE) @ smooth.T
    starts = range(0, len(found.still), _BATCH)
    rough_N = np.empty(len(found.still), np.float32)
    is_near_N = np.zeros(len(found.still), bool)

    def look(start: int) -> None:
        block = slice(start, start + _BATCH)
        rough_N[block], is_near_N[block] = _rough_difference(grey_NRK, found.where(block))

    with ThreadPoolExecutor(max_workers=2) as threads:
        list(threads.map(look, starts))
    pictures_2N = np.stack([found.still, found.moving])
    orderly_N = np.where(is_near_N, rough_N, np.inf)
    rank_2N = _ranks(pictures_2N.ravel(), np.tile(orderly_N, 2)).reshape(2, -1)
    # What looks most alike as it is says how far apart different pictures of this data set are.
    listed_N = is_near_N & ((rank_2N.min(0) < _LISTED) | (found.view == 0))
    sides = np.minimum(records["rows"], records["columns"]).astype(np.float32)
    contrast = grey_NRK.std((1, 2))
    least_N = rough_N * contrast[found.still] * _LEAST_PEAK * sides[pictures_2N].min(0) / _SIDE
    beyond = np.full(len(records), np.inf, np.float32)
    for pictures_N in pictures_2N:
        np.minimum.at(beyond, pictures_N[~listed_N], least_N[~listed_N])
    return found.where(listed_N), beyond


def _rough_difference(grey_NRK: Floats, found: Candidates) -> tuple[Floats, NDArray[np.bool_]]:
    """The mean difference of each pair in contrasts, and whether it is small enough for a copy.

    Most pairs are told by one linear fit; only what is left of them is laid upon each other.
    """
    still_NRK, moving_NRK = grey_NRK[found.still], oriented(grey_NRK[found.moving], found)
    window_N4, margin = first_windows(found), _MARGIN / _SIDE  # a crop lacks what lay outside
    contrast_N = np.maximum(still_NRK.std((1, 2)), 1)
    mean_N, most_N = _differences(
        *tangent_remainder(still_NRK, moving_NRK, window_N4, margin=margin), contrast_N
    )
    is_near_N = (mean_N < _LIMIT) & (most_N < _MOST_LIMIT)
    near = np.flatnonzero(is_near_N)
    if len(near):
        fit = register(
            still_NRK[near], moving_NRK[near], window_N4[near], steps=_STEPS, margin=margin
        )
        mean_N[near], most_N = _differences(fit.remainder_NRK, fit.shared_NRK, contrast_N[near])
        is_near_N[near] = (mean_N[near] < _LIMIT) & (most_N < _MOST_LIMIT)
    return mean_N, is_near_N


def _differences(
    remainder_NRK: Floats, shared_NRK: Floats, contrast_N: Floats
) -> tuple[Floats, Floats]:
    """In contrasts: the mean difference, large ones cut off, and what most places stay below."""
    relative_NRK = np.abs(remainder_NRK) / contrast_N[:, None, None]
    total_N = (np.minimum(relative_NRK, _CAP) * shared_NRK).sum((1, 2))
    inner_NM = relative_NRK[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].reshape(len(contrast_N), -1)
    place = int(_MOST * inner_NM.shape[1])
    most_N = np.partition(inner_NM, place, axis=1)[:, place]
    return total_N / np.maximum(shared_NRK.sum((1, 2)), 1), most_N


def _ranks(groups: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """The place of every value among those of its group, the smallest first."""
    order = np.lexsort((values, groups))
    sorted_groups = groups[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(sorted_groups) != 0
    places = np.arange(len(order))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return ranks
