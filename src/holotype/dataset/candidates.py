"""Which pictures are worth a closer look: the nearest ones, seen through slightly moved windows.

Every picture is shrunk to 12 by 12 and freed of brightness and contrast; so is what a crop of
up to 5 % would leave of it. The products of all with all are taken in blocks, and of every
picture only the nearest few are kept: nothing grows with the square of the data set but time.
Perceptual hashes are coarser and no faster: a crop of 3 % moves a 64-bit hash by 10 to 22 bits.

Shape suffixes: N pictures, B pictures of a block, D numbers of a descriptor, K nearest.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

DESCRIPTOR_SIZE = 12
_NEAREST = 10  # a true copy ranked below 8 of 2,624 solar cells in 3 of 1,000 crops of 5 %
_LEAST_SIMILAR = 0.85  # correlation; the least of a true copy was 0.889
_FLAT = 0.7  # grey levels of contrast below which there is no picture to compare
_BLOCK = 512
_ASPECT = 0.12  # of the logarithm of width over height; a crop of 5 % changes it by 0.05


@dataclass(frozen=True)
class Window:
    """A part of a picture: from where to where, as fractions of its height and width."""

    top: float
    bottom: float
    left: float
    right: float


def _windows() -> tuple[Window, ...]:
    """The whole picture first, then crops of 2.5 and 5 % at several places."""
    windows = [Window(0, 1, 0, 1), Window(0.0125, 0.9875, 0.0125, 0.9875)]
    for cut, places in ((0.025, (0, 1)), (0.05, (0, 0.5, 1))):
        for down in places:
            for across in places:
                top, left = down * cut, across * cut
                windows.append(Window(top, top + 1 - cut, left, left + 1 - cut))
    return tuple(windows)


WINDOWS = _windows()
_WHOLE = WINDOWS[0]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of pictures: a window of `moving` looks like the whole of `still`."""

    still: NDArray[np.int64]
    moving: NDArray[np.int64]
    window: NDArray[np.int64]  # positions in WINDOWS
    mirrored: NDArray[np.bool_]
    crowded: frozenset[int]  # still pictures with more similar ones than are listed


def candidates(records: NDArray[np.void]) -> Candidates:
    """For every still picture the few others whose windows look most like it.

    The nearest are taken among moving pictures for each still one, not the other way round: a
    crop competes with windows of the same extent then, and not with whole pictures, which in a
    series of like specimens are all more alike than a picture and its own crop.
    """
    whole_ND = descriptors(records, _WHOLE)
    aspect_N = np.log(records["width"] / np.maximum(records["height"], 1)).astype(np.float32)
    nearest = _Nearest.none(len(records))
    for start in range(0, len(records), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(records)))
        best_NB = _best_similarity(whole_ND, records[block])
        best_NB[np.abs(aspect_N[:, None] - aspect_N[block]) > _ASPECT] = -1
        best_NB[block, np.arange(len(block))] = -1
        nearest.update(best_NB, start)
    return _one_direction(nearest, records)


def _best_similarity(whole_ND: Floats, moving: NDArray[np.void]) -> Floats:
    """Of N still pictures and B moving ones: the similarity through the best window."""
    best_NB = whole_ND @ descriptors(moving, _WHOLE, mirrored=True).T
    product_NB = np.empty_like(best_NB)
    for window in WINDOWS:
        np.matmul(whole_ND, descriptors(moving, window).T, out=product_NB)
        np.maximum(best_NB, product_NB, out=best_NB)
    return best_NB


@dataclass(eq=False)
class _Nearest:
    """The K nearest moving pictures of N still ones, among those that were seen so far."""

    similarity_NK: Floats
    moving_NK: NDArray[np.int64]
    similar_ones_N: NDArray[np.int64]  # how many there were, listed or not

    @classmethod
    def none(cls, count: int) -> "_Nearest":
        shape = (count, _NEAREST)
        return cls(
            np.full(shape, -1, np.float32), np.zeros(shape, np.int64), np.zeros(count, np.int64)
        )

    def update(self, best_NB: Floats, start: int) -> None:
        """Look at B more moving pictures, the first of which has the number `start`."""
        self.similar_ones_N += (best_NB >= _LEAST_SIMILAR).sum(1)
        count = min(_NEAREST, best_NB.shape[1])
        new_NK = np.argpartition(best_NB, -count, axis=1)[:, -count:]
        similarity = np.hstack([self.similarity_NK, np.take_along_axis(best_NB, new_NK, 1)])
        moving = np.hstack([self.moving_NK, new_NK + start])
        keep_NK = np.argpartition(similarity, -_NEAREST, axis=1)[:, -_NEAREST:]
        self.similarity_NK = np.take_along_axis(similarity, keep_NK, 1)
        self.moving_NK = np.take_along_axis(moving, keep_NK, 1)


def descriptors(records: NDArray[np.void], window: Window, *, mirrored: bool = False) -> Floats:
    """The window of each picture as a vector of length 1, without brightness and contrast."""
    out_ND = np.empty((len(records), DESCRIPTOR_SIZE**2), np.float32)
    sizes = np.stack([records["rows"], records["columns"]], 1).astype(np.int64)
    for rows, columns in np.unique(sizes, axis=0):
        some = np.flatnonzero((sizes == (rows, columns)).all(1))
        grey = records["grey"][some, :rows, :columns].astype(np.float32)
        if mirrored:
            grey = grey[:, :, ::-1]
        down = shrinking(int(rows), DESCRIPTOR_SIZE, window.top, window.bottom)
        across = shrinking(int(columns), DESCRIPTOR_SIZE, window.left, window.right)
        small_ND = (down @ grey @ across.T).reshape(len(some), -1)
        small_ND = small_ND - small_ND.mean(1, keepdims=True)
        length_N1 = np.sqrt((small_ND**2).sum(1, keepdims=True))
        has_contrast = length_N1 > _FLAT * DESCRIPTOR_SIZE
        out_ND[some] = np.where(has_contrast, small_ND / np.maximum(length_N1, 1e-6), 0)
    return out_ND


def shrinking(length: int, new_length: int, start: float = 0, stop: float = 1) -> Floats:
    """A matrix (new_length, length) that shrinks a window of a line with a triangle filter."""
    places = (start + (np.arange(new_length) + 0.5) / new_length * (stop - start)) * length - 0.5
    places = np.clip(places, 0, length - 1)  # what lies outside looks like the border
    width = max(1.0, (stop - start) * length / new_length)
    weights = np.maximum(0, 1 - np.abs(np.arange(length) - places[:, None]) / width)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def _one_direction(nearest: _Nearest, records: NDArray[np.void]) -> Candidates:
    """Similar pairs; of the two directions of a pair the one that looks better."""
    still, place = np.nonzero(nearest.similarity_NK >= _LEAST_SIMILAR)
    moving = nearest.moving_NK[still, place]
    similarity = nearest.similarity_NK[still, place]
    low, high = np.minimum(still, moving), np.maximum(still, moving)
    order = np.lexsort((moving, -similarity, high, low))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    still, moving = still[order[is_first]], moving[order[is_first]]
    window, mirrored = _best_windows(records, still, moving)
    crowded = np.flatnonzero(nearest.similar_ones_N > _NEAREST)
    return Candidates(still, moving, window, mirrored, frozenset(crowded.tolist()))


def _best_windows(
    records: NDArray[np.void], still: NDArray[np.int64], moving: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Through which window each pair looks best, and whether it looks better mirrored."""
    whole_ND = descriptors(records, _WHOLE)
    best = np.full(len(still), -np.inf, np.float32)
    window = np.zeros(len(still), np.int64)
    mirrored = np.zeros(len(still), bool)
    looks = [(number, False) for number in range(len(WINDOWS))] + [(0, True)]
    for number, is_mirrored in looks:
        seen_ND = descriptors(records, WINDOWS[number], mirrored=is_mirrored)
        similarity = np.einsum("nd,nd->n", whole_ND[still], seen_ND[moving])
        better = similarity > best
        best[better], window[better], mirrored[better] = similarity[better], number, is_mirrored
    return window, mirrored
