"""Outliers, and similar images with different labels or parts, by distances of embeddings.

Similar embeddings are a hint and no proof, so neighbours are reported but not grouped in a split;
only verified copies are (`near_duplicates`).

Shape suffixes: N images, D features, K neighbours, B images of one block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.auditing.robust_z_score import robust_z_below_median
from holotype.dataset.index import Index

NEIGHBOURS = 10  # K
MAX_PAIRS = 50  # of conflicting neighbours
_MIN_IMAGES = 20  # fewer give no reliable median distance
_OUTLIER_Z = 7.0  # standard deviations above the median distance
_NEIGHBOUR_Z = 2.5  # standard deviations below the median log distance to the nearest
_NO_NEIGHBOUR, _MIN_SIMILARITY = -2.0, -1.0
_BLOCK_VALUES = 50_000_000  # similarities per block: 200 MB

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Outlier:
    """An image far from all others.

    Attributes:
        path: of the image.
        distance: mean cosine distance to its ten nearest images, in [0, 2].
        usual: the median of this over the data set.
        nearest: the path of the nearest image.
    """

    path: str
    distance: float
    usual: float
    nearest: str

    @property
    def evidence(self) -> str:
        return (
            f"its mean distance to the ten nearest images is "
            f"{self.distance / max(self.usual, 1e-9):.1f} times the median of this data; the "
            f"nearest is {self.nearest!r}"
        )


@dataclass(frozen=True)
class NeighbourPair:
    """Two images that are each other's nearest but differ in label or part.

    Attributes:
        first, second: their paths, sorted.
        similarity: cosine of their embeddings, at most 1.
        labels: of the two.
        parts: of the two; "" without a split.
    """

    first: str
    second: str
    similarity: float
    labels: tuple[str, str]
    parts: tuple[str, str]


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """The K nearest images of each of N images, the nearest first, without its copies.

    Attributes:
        rows_NK: their rows.
        similarity_NK: cosines of the embeddings, at most 1.
    """

    rows_NK: NDArray[np.int64]
    similarity_NK: Floats


def nearest_neighbours(
    embeddings_ND: Floats, paths: Sequence[str], copies: Sequence[frozenset[str]]
) -> NearestNeighbours:
    """Exact search by cosine, in blocks of rows; K is 10, or N - 1 if that is less.

    Args:
        embeddings_ND: one row for each path.
        copies: sets of paths of verified copies, which are not neighbours of each other.
    """
    count = len(paths)
    k = max(min(NEIGHBOURS, count - 1), 0)
    unit_ND = embeddings_ND / np.maximum(
        np.linalg.norm(embeddings_ND, axis=1, keepdims=True), np.float32(1e-12)
    )
    siblings = _siblings(paths, copies)
    rows_NK = np.zeros((count, k), np.int64)
    similarity_NK = np.zeros((count, k), np.float32)
    step = max(1, _BLOCK_VALUES // max(count, 1))
    for start in range(0, count if k else 0, step):
        block = np.arange(start, min(start + step, count))
        similarity_BN = unit_ND[block] @ unit_ND.T
        for place, row in enumerate(block.tolist()):
            similarity_BN[place, siblings.get(row, [row])] = _NO_NEIGHBOUR
        best_BK = np.argpartition(-similarity_BN, k - 1, axis=1)[:, :k]
        found_BK = np.take_along_axis(similarity_BN, best_BK, axis=1)
        order_BK = np.lexsort((best_BK, -found_BK), axis=1)
        rows_NK[block] = np.take_along_axis(best_BK, order_BK, axis=1)
        similarity_NK[block] = np.take_along_axis(found_BK, order_BK, axis=1)
    return NearestNeighbours(rows_NK, similarity_NK)


def _siblings(paths: Sequence[str], copies: Sequence[frozenset[str]]) -> dict[int, list[int]]:
    """For each row with copies: the rows of these and its own."""
    row_of = {path: row for row, path in enumerate(paths)}
    siblings = {}
    for cluster in copies:
        rows = sorted(row_of[path] for path in cluster if path in row_of)
        siblings.update(dict.fromkeys(rows, rows))
    return siblings


def find_outliers(found: NearestNeighbours, paths: Sequence[str]) -> list[Outlier]:
    """Images whose mean distance to their neighbours is unusually large, the farthest first."""
    if len(paths) < _MIN_IMAGES:
        return []
    distance_N = 1 - found.similarity_NK.astype(np.float64).mean(axis=1)
    above_N, negative_median = robust_z_below_median(-distance_N, min_spread=1e-6)
    far = np.flatnonzero(above_N > _OUTLIER_Z)
    return [
        Outlier(
            path=paths[row],
            distance=float(distance_N[row]),
            usual=-negative_median,
            nearest=paths[int(found.rows_NK[row, 0])],
        )
        for row in sorted(far.tolist(), key=lambda row: (-distance_N[row], paths[row]))
    ]


def find_conflicting_neighbours(found: NearestNeighbours, index: Index) -> list[NeighbourPair]:
    """Mutual nearest neighbours with different labels or parts, the nearest first; at most 50.

    Only those much nearer than the nearest neighbours of this data usually are.

    Args:
        found: of the images of the index, in its order.
    """
    if not found.rows_NK.size:
        return []
    paths, labels, parts = (list(index.table[name]) for name in ("path", "label", "split"))
    nearest_N = found.rows_NK[:, 0]
    is_mutual_N = nearest_N[nearest_N] == np.arange(len(nearest_N))
    similarity_N = found.similarity_NK[:, 0].astype(np.float64)
    log_distance_N = np.log(np.maximum(1 - similarity_N, 1e-6))
    below_N, _ = robust_z_below_median(log_distance_N, min_spread=0.05)
    is_near_N = (similarity_N >= _MIN_SIMILARITY) & (below_N > _NEIGHBOUR_Z)
    pairs = [
        NeighbourPair(
            first=paths[row],
            second=paths[other],
            similarity=float(similarity_N[row]),
            labels=(labels[row], labels[other]),
            parts=(parts[row], parts[other]),
        )
        for row, other in enumerate(nearest_N.tolist())
        if row < other
        and is_mutual_N[row]
        and is_near_N[row]
        and (labels[row] != labels[other] or parts[row] != parts[other])
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first))[:MAX_PAIRS]
