"""Images that are like no other, and images of different labels or parts that are alike.

Both are read off the embeddings of a network: what is near there looks alike to the network,
which is a hint and no proof. Neighbours are therefore reported and never grouped; what a split
keeps together are verified copies (`lookalikes`).

Shape suffixes: N images, D features, K neighbours, B images of one block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index

NEIGHBOURS = 10  # K
MAX_PAIRS = 50  # of neighbours that are reported
_MIN_IMAGES = 20  # of fewer, nobody knows how far apart they usually are
_OUTLIER_Z = 7.0  # standard deviations above the usual distance
_NEIGHBOUR_Z = 2.5  # standard deviations below the usual distance to the nearest, on a log scale
_NO_NEIGHBOUR, _MIN_SIMILARITY = -2.0, -1.0
_BLOCK_VALUES = 50_000_000  # similarities held at a time: 200 MB

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Outlier:
    """An image far from all others.

    Attributes:
        path: of the image.
        distance: its mean cosine distance to its ten nearest images, in [0, 2].
        usual: the median of that over the data set.
        nearest: the image that is nearest to it.
    """

    path: str
    distance: float
    usual: float
    nearest: str

    @property
    def evidence(self) -> str:
        """What sets it apart, for people."""
        return (
            f"{self.distance / max(self.usual, 1e-9):.1f} times as far from its ten nearest "
            f"images as is usual here; the nearest is {self.nearest!r}"
        )


@dataclass(frozen=True)
class NeighbourPair:
    """Two images that are each other's nearest though a label or a part stands between them.

    Attributes:
        first, second: their paths, in order.
        similarity: cosine of their embeddings, at most 1.
        labels: of the two.
        parts: of the two; "" where there is no split.
    """

    first: str
    second: str
    similarity: float
    labels: tuple[str, str]
    parts: tuple[str, str]


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """The K nearest images of each of N, the nearest first, copies of the image left out.

    Attributes:
        rows_NK: their rows.
        similarity_NK: cosines of the embeddings, at most 1.
    """

    rows_NK: NDArray[np.int64]
    similarity_NK: Floats


def nearest_neighbours(
    embeddings_ND: Floats, paths: Sequence[str], copies: Sequence[frozenset[str]]
) -> NearestNeighbours:
    """Exact search, a block of rows at a time; K is 10, or fewer where there are fewer images.

    The work grows with the square of N, but at 50,000 images is still less than what it
    takes to embed them.

    Args:
        embeddings_ND: one row for each path.
        copies: verified copies of one image: not each other's neighbours.
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
    """For each row that has copies, their rows and its own."""
    row_of = {path: row for row, path in enumerate(paths)}
    siblings = {}
    for cluster in copies:
        rows = sorted(row_of[path] for path in cluster if path in row_of)
        siblings.update(dict.fromkeys(rows, rows))
    return siblings


def find_outliers(found: NearestNeighbours, paths: Sequence[str]) -> list[Outlier]:
    """Images whose neighbours are far away for this data set, the farthest first."""
    if len(paths) < _MIN_IMAGES:
        return []
    distance_N = 1 - found.similarity_NK.astype(np.float64).mean(axis=1)
    median, quartile = np.quantile(distance_N, (0.5, 0.75))
    spread = max(float(quartile - median) / 0.6745, 1e-6)
    far = np.flatnonzero(distance_N > median + _OUTLIER_Z * spread)
    return [
        Outlier(
            path=paths[row],
            distance=float(distance_N[row]),
            usual=float(median),
            nearest=paths[int(found.rows_NK[row, 0])],
        )
        for row in sorted(far.tolist(), key=lambda row: (-distance_N[row], paths[row]))
    ]


def find_conflicting_neighbours(found: NearestNeighbours, index: Index) -> list[NeighbourPair]:
    """Mutual nearest neighbours with different labels or in different parts, the nearest first.

    Only those that are much nearer to each other than nearest images of this data set usually
    are: every image of a uniform domain has some neighbour.

    Args:
        found: of the images of the index, in its order.
    """
    if not found.rows_NK.size:
        return []
    paths, labels, parts = (list(index.table[name]) for name in ("path", "label", "split"))
    nearest_N = found.rows_NK[:, 0]
    is_mutual_N = nearest_N[nearest_N] == np.arange(len(nearest_N))
    is_near_N = _unusually_near(found.similarity_NK[:, 0])
    pairs = [
        NeighbourPair(
            first=paths[row],
            second=paths[other],
            similarity=float(found.similarity_NK[row, 0]),
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


def _unusually_near(similarity_N: Floats) -> NDArray[np.bool_]:
    """Judged by the lower quartile, which a few near pairs cannot move."""
    log_N = np.log(np.maximum(1 - similarity_N.astype(np.float64), 1e-6))
    quartile, median = np.quantile(log_N, (0.25, 0.5))
    spread = max(float(median - quartile) / 0.6745, 0.05)
    has_neighbour_N = similarity_N >= _MIN_SIMILARITY
    return np.asarray(has_neighbour_N & (log_N < median - _NEIGHBOUR_Z * spread))
