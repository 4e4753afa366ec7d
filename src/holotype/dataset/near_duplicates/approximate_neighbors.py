"""Approximate nearest-neighbour search by partitions (inverted lists).

Vectors are bisected along their principal axis until no partition holds more than 512; every vector
then belongs to the partition with the nearest centroid. A query is compared exactly with all
members of the few partitions whose centroids are nearest to it, so its cost does not grow with the
number of vectors, but for one product with each centroid. The result depends on the vectors and
their order alone, not on the number of threads.

Sources: Jégou, Douze and Schmid 2011, "Product quantization for nearest neighbor search", IEEE
TPAMI 33 (inverted lists, several probes); McNames 2001, "A fast nearest-neighbor algorithm based
on a principal axis search tree", IEEE TPAMI 23 (bisection).

Shape suffixes: N vectors, D coefficients, C partitions, Q queries, T probed partitions,
K neighbours.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.resize_blur_dct import Floats
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_NUM_THREADS = DEFAULT.batches.num_threads
NO_NEIGHBOUR = -2.0  # similarity where there are too few neighbours


@dataclass(frozen=True, eq=False)
class NeighbourIndex:
    """Vectors of length 1 (or 0) in partitions.

    Attributes:
        members: for every partition the rows of its vectors.
        vectors: for every partition its vectors, (D, members).
        centroids_CD: the means of the partitions.
        partition_N, position_N: for every vector its partition and its index there.
    """

    members: tuple[NDArray[np.int64], ...]
    vectors: tuple[Floats, ...]
    centroids_CD: Floats
    partition_N: NDArray[np.int64]
    position_N: NDArray[np.int64]

    @classmethod
    def build(cls, vectors_ND: Floats) -> "NeighbourIndex":
        halved = _bisect(vectors_ND, np.arange(len(vectors_ND)))
        centroids_CD = np.stack([vectors_ND[rows].mean(0) for rows in halved])
        partition_N = _centroid_scores(vectors_ND, centroids_CD).argmax(1)
        order = np.argsort(partition_N, kind="stable")
        ends = np.searchsorted(partition_N[order], np.arange(1, len(halved)))
        members = np.split(order, ends)
        position_N = np.empty(len(vectors_ND), np.int64)
        for rows in members:
            position_N[rows] = np.arange(len(rows))
        vectors = tuple(np.ascontiguousarray(vectors_ND[rows].T) for rows in members)
        return cls(tuple(members), vectors, centroids_CD, partition_N, position_N)

    def query(
        self, queries_QD: Floats, self_row_Q: NDArray[np.int64], *, count: int, num_probes: int
    ) -> tuple[NDArray[np.int64], Floats]:
        """The rows (Q, count) most similar to each query and the similarities, best first.

        Args:
            self_row_Q: the row that each query comes from, which is not returned.
            count: number of rows; where there are fewer, the similarity is `NO_NEIGHBOUR`.
            num_probes: number of partitions searched per query.
        """
        partition_QT = self._nearest_partitions(queries_QD, min(num_probes, len(self.members)))
        queries, probes = partition_QT.shape
        row_QTK = np.zeros((queries, probes, count), np.int64)
        similarity_QTK = np.full((queries, probes, count), NO_NEIGHBOUR, np.float32)
        order = np.argsort(partition_QT, axis=None, kind="stable")
        starts = np.searchsorted(partition_QT.ravel()[order], np.arange(len(self.members) + 1))

        def search_partition(partition: int) -> None:
            asked, probe = np.divmod(order[starts[partition] : starts[partition + 1]], probes)
            if not len(asked):
                return
            products = queries_QD[asked] @ self.vectors[partition]
            own = np.flatnonzero(self.partition_N[self_row_Q[asked]] == partition)
            products[own, self.position_N[self_row_Q[asked[own]]]] = NO_NEIGHBOUR
            each = np.arange(len(asked))
            for rank in range(min(count, products.shape[1])):
                best = products.argmax(1)
                row_QTK[asked, probe, rank] = self.members[partition][best]
                similarity_QTK[asked, probe, rank] = products[each, best]
                products[each, best] = NO_NEIGHBOUR

        with ThreadPoolExecutor(max_workers=_NUM_THREADS) as threads:
            list(threads.map(search_partition, range(len(self.members))))
        row_QM, similarity_QM = row_QTK.reshape(queries, -1), similarity_QTK.reshape(queries, -1)
        if probes == 1:
            return row_QM, similarity_QM
        best_QK = np.argsort(-similarity_QM, axis=1, kind="stable")[:, :count]
        return (
            np.take_along_axis(row_QM, best_QK, 1),
            np.take_along_axis(similarity_QM, best_QK, 1),
        )

    def _nearest_partitions(self, queries_QD: Floats, probes: int) -> NDArray[np.int64]:
        """The partitions (Q, T) with the nearest centroids."""
        score_QC = _centroid_scores(queries_QD, self.centroids_CD)
        partition_QT = np.empty((len(queries_QD), probes), np.int64)
        each = np.arange(len(queries_QD))
        for probe in range(probes):
            partition_QT[:, probe] = score_QC.argmax(1)
            score_QC[each, partition_QT[:, probe]] = -np.inf
        return partition_QT


def _centroid_scores(vectors_ND: Floats, centroids_CD: Floats) -> Floats:
    """Half the squared distance to each centroid, negative, up to a constant per vector (N, C)."""
    return np.asarray(vectors_ND @ centroids_CD.T - (centroids_CD**2).sum(1) / 2)


def _bisect(vectors_ND: Floats, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split rows at the median of their principal axis until the partitions are small."""
    if len(rows) <= DEFAULT.candidates.max_partition_size:
        return [rows]
    spread_ND = vectors_ND[rows] - vectors_ND[rows].mean(0)
    _, directions_DD = np.linalg.eigh(spread_ND.T @ spread_ND)
    order = np.argsort(spread_ND @ directions_DD[:, -1], kind="stable")
    half = len(rows) // 2
    lower, upper = np.sort(rows[order[:half]]), np.sort(rows[order[half:]])
    return [*_bisect(vectors_ND, lower), *_bisect(vectors_ND, upper)]
