"""Mean average precision and the cumulative match characteristic (rank-k) of a gallery search.

Every query ranks the images of a gallery by similarity; those of its individual should be first. A
query without an image of its individual in the gallery has no answer and is left out here:
open-set metrics judge it.

Shape suffixes: Q queries, R images of the gallery (references), K ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.errors import UsageError
from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion, undefined
from holotype.text_tables import short_text

_MAX_VALUES_SORTED = 8_000_000  # similarities sorted at once: some 200 MB


@dataclass(frozen=True, eq=False)
class RankedQueries:
    """What became of every query.

    Attributes:
        average_precision_Q: float64 in [0, 1]; NaN where the gallery has no image to be found.
        first_match_Q: int64, the rank of the first image of the same individual, from 1; 0 where
            there is none.
    """

    average_precision_Q: NDArray[np.float64]
    first_match_Q: NDArray[np.int64]

    @property
    def answerable_Q(self) -> NDArray[np.bool_]:
        """Whether the gallery holds an image to be found."""
        return self.first_match_Q > 0


@dataclass(frozen=True, eq=False, repr=False)
class RankingMetrics:
    """How well queries find their individual.

    Attributes:
        mean_average_precision: over answerable queries.
        rank: of each k the share of queries with a match among the first k.
        cumulative_match_K: float64 (K,), the share for k = 1, 2, … K (the CMC curve).
        num_queries: answerable ones.
        num_unanswerable: queries whose individual has no image in the gallery.
        num_identities: of the answerable queries.
    """

    mean_average_precision: Estimate
    rank: dict[int, Estimate]
    cumulative_match_K: NDArray[np.float64]
    num_queries: int
    num_unanswerable: int
    num_identities: int

    def __repr__(self) -> str:
        ranks = [f"rank-{k}: {estimate}" for k, estimate in self.rank.items()]
        counts = f"{self.num_queries} queries of {self.num_identities} individuals"
        return short_text(counts, f"mAP: {self.mean_average_precision}", *ranks)


def rank_queries(
    similarity_QR: NDArray[np.floating],
    query_identities: Sequence[str],
    reference_identities: Sequence[str],
    excluded_QR: NDArray[np.bool_] | None = None,
) -> RankedQueries:
    """Rank the gallery for every query, the most similar image first, ties in the gallery's order.

    Average precision is the mean, over the images to be found, of the precision at their rank:
    of all ranks, not of the first k.

    Args:
        similarity_QR: larger is more alike, such as the cosine; finite.
        query_identities: Q names.
        reference_identities: R names.
        excluded_QR: pairs that are no answer: the query itself, its encounter, its other side.

    Raises:
        UsageError: the shapes differ, or a similarity is not finite.

    Source:
        pytorch-metric-learning's `mean_average_precision` with k = R; Zheng et al. 2015, "Scalable
        Person Re-identification: A Benchmark" (mAP beside the CMC).

    Example:
        >>> import numpy as np
        >>> similarity_QR = np.array([[0.9, 0.8, 0.1]])
        >>> found = rank_queries(similarity_QR, ["ada"], ["bo", "ada", "ada"])
        >>> print(found.first_match_Q, found.average_precision_Q.round(3))
        [2] [0.583]
    """
    similarity_QR = np.asarray(similarity_QR)
    shape = (len(query_identities), len(reference_identities))
    if similarity_QR.shape != shape or (excluded_QR is not None and excluded_QR.shape != shape):
        raise UsageError(
            f"similarities of shape {similarity_QR.shape} for {shape[0]} queries and {shape[1]} "
            "images of a gallery; expected a row per query and a column per image."
        )
    if not np.isfinite(similarity_QR).all():
        raise UsageError("a similarity is not finite; expected a number for every pair.")
    names = {
        name: n for n, name in enumerate(dict.fromkeys([*query_identities, *reference_identities]))
    }
    query_Q = np.array([names[name] for name in query_identities], np.int64)
    reference_R = np.array([names[name] for name in reference_identities], np.int64)
    Q, R = shape
    average_precision_Q = np.full(Q, np.nan)
    first_match_Q = np.zeros(Q, np.int64)
    step = max(1, _MAX_VALUES_SORTED // max(1, R))
    for start in range(0, Q if R else 0, step):
        rows = slice(start, start + step)
        score_BR = similarity_QR[rows].astype(np.float64)
        same_BR = query_Q[rows, None] == reference_R
        if excluded_QR is not None:
            score_BR[excluded_QR[rows]] = -np.inf  # last, where they are nobody's match
            same_BR &= ~excluded_QR[rows]
        order_BR = np.argsort(-score_BR, axis=1, kind="stable")
        match_BR = np.take_along_axis(same_BR, order_BR, axis=1)
        found_B = match_BR.sum(axis=1)
        precision_BR = np.cumsum(match_BR, axis=1) / np.arange(1, R + 1)
        has_match_B = found_B > 0
        total_B = (precision_BR * match_BR).sum(axis=1)
        average_precision_Q[rows][has_match_B] = total_B[has_match_B] / found_B[has_match_B]
        first_match_Q[rows] = np.where(has_match_B, match_BR.argmax(axis=1) + 1, 0)
    return RankedQueries(average_precision_Q, first_match_Q)


def ranking_metrics(
    ranked: RankedQueries,
    query_identities: Sequence[str],
    *,
    ranks: Sequence[int] = (1, 5, 10),
    num_ranks: int = 50,
) -> RankingMetrics:
    """mAP and rank-k over the answerable queries, with intervals by identity.

    Args:
        ranked: from `rank_queries`.
        query_identities: the sampling units of the intervals.
        ranks: each at least 1.
        num_ranks: K, the length of the CMC curve.

    Example:
        >>> import numpy as np
        >>> names = ["ada", "ada", "bo", "bo"]
        >>> ranked = rank_queries(np.eye(4), names, names, np.eye(4, dtype=bool))
        >>> ranking_metrics(ranked, names, ranks=[1]).rank[1].value
        0.25
    """
    if any(k < 1 for k in ranks):
        raise UsageError(f"ranks are {list(ranks)}, expected numbers from 1.")
    counted_Q = ranked.answerable_Q
    identities = [
        name for name, counted in zip(query_identities, counted_Q, strict=True) if counted
    ]
    first_match_Q = ranked.first_match_Q[counted_Q]
    if not identities:
        nothing = undefined("no query has an image of its individual in the gallery")
        return RankingMetrics(
            nothing, dict.fromkeys(ranks, nothing), np.zeros(0), 0, len(counted_Q), 0
        )
    units = SamplingUnits.of_groups(identities)
    ones_Q = np.ones(len(identities))
    return RankingMetrics(
        mean_average_precision=proportion(ranked.average_precision_Q[counted_Q], ones_Q, units),
        rank={k: proportion(first_match_Q <= k, ones_Q, units) for k in ranks},
        cumulative_match_K=(first_match_Q[:, None] <= np.arange(1, num_ranks + 1)).mean(axis=0),
        num_queries=len(identities),
        num_unanswerable=int((~counted_Q).sum()),
        num_identities=units.count,
    )
