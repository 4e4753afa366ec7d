"""Of many candidates the few that come nearest when two pictures are roughly laid upon each other.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import Candidates, first_windows, oriented
from holotype.dataset.registration import register
from holotype.dataset.thumbnails import Floats, grey_at, smoothing

_SIDE, _STEPS, _MARGIN = 16, 2, 2
_LISTED = 10  # per picture; of 4,000 planted copies the worst was eighth
# Differences in contrasts; of planted copies (seed 7) the mean is at most 0.132, the other 0.175.
_LIMIT, _MOST_LIMIT = 0.14, 0.19
_MOST = 0.7  # of the places; the others may be covered by a frame or a text
_CAP = 0.25  # in the mean no place counts for more, so that a line of text is no hindrance
_BATCH = 192


def shortlisted(records: NDArray[np.void], found: Candidates) -> tuple[Candidates, frozenset[int]]:
    """Of every picture the few candidates that come nearest when they are roughly registered.

    Returns:
        The pairs that are among the nearest of one of their two pictures, or look most alike as
        they are; and the pictures that have more pairs: what follows their last is not known.
    """
    if not len(found.still):
        return found, frozenset()
    smooth = smoothing(_SIDE, 1.0)
    grey_NRK = np.concatenate(
        [
            smooth @ grey_at(records[start : start + _BATCH], _SIDE) @ smooth.T
            for start in range(0, len(records), _BATCH)
        ]
    )
    starts = range(0, len(found.still), _BATCH)
    with ThreadPoolExecutor(max_workers=2) as threads:
        parts = threads.map(
            lambda start: _rough_difference(grey_NRK, found.where(slice(start, start + _BATCH))),
            starts,
        )
        rough_N = np.concatenate(list(parts))
    plausible = np.flatnonzero(np.isfinite(rough_N))
    found, rough_N = found.where(plausible), rough_N[plausible]
    rank_2N = _ranks(np.concatenate([found.still, found.moving]), np.tile(rough_N, 2)).reshape(
        2, -1
    )
    # What looks most alike as it is says how far apart different pictures of this data set are.
    listed = (rank_2N.min(0) < _LISTED) | (found.view == 0)
    beyond = np.concatenate(
        [found.still[rank_2N[0] >= _LISTED], found.moving[rank_2N[1] >= _LISTED]]
    )
    return found.where(listed), frozenset(beyond.tolist())


def _rough_difference(grey_NRK: Floats, found: Candidates) -> Floats:
    """The mean difference of each pair, infinite where it is too large for a copy."""
    fit = register(
        grey_NRK[found.still],
        oriented(grey_NRK[found.moving], found),
        first_windows(found),
        steps=_STEPS,
        margin=_MARGIN / _SIDE,  # at the border a crop lacks what lay outside
    )
    relative_NRK = np.abs(fit.remainder_NRK) / np.maximum(fit.contrast_N, 1)[:, None, None]
    total_N = (np.minimum(relative_NRK, _CAP) * fit.shared_NRK).sum((1, 2))
    mean_N = total_N / np.maximum(fit.shared_NRK.sum((1, 2)), 1)
    inner_NM = relative_NRK[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].reshape(len(mean_N), -1)
    place = int(_MOST * inner_NM.shape[1])
    most_N = np.partition(inner_NM, place, axis=1)[:, place]
    return np.where((mean_N < _LIMIT) & (most_N < _MOST_LIMIT), mean_N, np.inf)


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
