"""Searches with the embeddings of several runs, for the same images, paired by query.

Shape suffixes: N images, Q queries, E dimensions of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.bootstrap import ScoreDifference
from holotype.comparison.retrieval.paired_difference import paired_difference
from holotype.comparison.retrieval.ranking_metrics import (
    RankedQueries,
    rank_queries,
    ranking_metrics,
)
from holotype.evaluation.intervals import Estimate

SEARCH_SCORES = {"map": "mAP", "rank_1": "rank-1"}
SEARCH_HEADER = ("run", "mAP", "minus the best", "rank-1", "minus the best")
_QUERIES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class SearchedImages:
    """The images of a search.

    Attributes:
        individuals: N classes; a search should find those of the same.
        encounters_N: int64; images of one encounter do not find each other. -1 for none.
        is_query_N: whether it is searched with; every image is found.
    """

    individuals: tuple[str, ...]
    encounters_N: NDArray[np.int64]
    is_query_N: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SearchComparison:
    """How well runs find images of one individual; the run with the highest mAP first.

    Attributes:
        what: which images were searched with, for a reader.
        num_queries, num_individuals: of the queries that have an answer.
        names: of the runs.
        scores: of each of `SEARCH_SCORES` that of every run, with an interval by individual.
        differences: each run minus the first, paired by query; None for the first.
    """

    what: str
    num_queries: int
    num_individuals: int
    names: tuple[str, ...]
    scores: Mapping[str, tuple[Estimate, ...]]
    differences: Mapping[str, tuple[ScoreDifference | None, ...]]

    @property
    def title(self) -> str:
        return (
            f"Search among {self.what}, {self.num_queries:,} queries of "
            f"{self.num_individuals:,} individuals"
        )

    def rows(self) -> list[tuple[str, ...]]:
        """The cells below `SEARCH_HEADER`."""
        return [
            (name, *(text for score in SEARCH_SCORES for text in self._texts(score, number)))
            for number, name in enumerate(self.names)
        ]

    def _texts(self, score: str, number: int) -> tuple[str, str]:
        difference = self.differences[score][number]
        return str(self.scores[score][number]), "" if difference is None else str(difference)

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "num_queries": self.num_queries,
            "num_individuals": self.num_individuals,
            "runs": [
                {"run": name}
                | {
                    score: {
                        **self.scores[score][number].to_json(),
                        "difference_to_best": None if difference is None else vars(difference),
                    }
                    for score in SEARCH_SCORES
                    for difference in [self.differences[score][number]]
                }
                for number, name in enumerate(self.names)
            ],
        }


def compare_searches(
    embedded: Mapping[str, NDArray[np.float32]], images: SearchedImages, what: str
) -> SearchComparison | None:
    """Search with every run's embeddings; None where no query has an answer.

    Args:
        embedded: of each run (N, E), of any length; E may differ between runs.
        what: which images are searched with, for a reader.
    """
    identities = [
        name for name, one in zip(images.individuals, images.is_query_N, strict=True) if one
    ]
    ranked = {name: _ranked(embedded_NE, images) for name, embedded_NE in embedded.items()}
    metrics = {name: ranking_metrics(one, identities, ranks=[1]) for name, one in ranked.items()}
    first = next(iter(metrics.values()))
    if not first.num_queries:
        return None
    order = sorted(metrics, key=lambda name: -(metrics[name].mean_average_precision.value or 0.0))
    values_of = {
        "map": {name: one.average_precision_Q for name, one in ranked.items()},
        "rank_1": {
            name: np.where(one.answerable_Q, one.first_match_Q == 1, np.nan)
            for name, one in ranked.items()
        },
    }
    return SearchComparison(
        what=what,
        num_queries=first.num_queries,
        num_individuals=first.num_identities,
        names=tuple(order),
        scores={
            "map": tuple(metrics[name].mean_average_precision for name in order),
            "rank_1": tuple(metrics[name].rank[1] for name in order),
        },
        differences={
            score: _differences(values, order, identities) for score, values in values_of.items()
        },
    )


def _differences(
    values: Mapping[str, NDArray[np.float64]], order: Sequence[str], identities: Sequence[str]
) -> tuple[ScoreDifference | None, ...]:
    best = values[order[0]]
    return (None, *(paired_difference(values[name], best, identities) for name in order[1:]))


def _ranked(embedded_NE: NDArray[np.float32], images: SearchedImages) -> RankedQueries:
    lengths_N1 = np.linalg.norm(embedded_NE, axis=1, keepdims=True)
    unit_NE = embedded_NE / np.where(lengths_N1 > 0, lengths_N1, 1)
    rows = np.flatnonzero(images.is_query_N)
    parts = []
    for start in range(0, len(rows), _QUERIES_AT_ONCE):
        some = rows[start : start + _QUERIES_AT_ONCE]
        encounter_Q1 = images.encounters_N[some, None]
        excluded_QN = (encounter_Q1 == images.encounters_N) & (encounter_Q1 >= 0)
        excluded_QN[np.arange(len(some)), some] = True
        asked = [images.individuals[row] for row in some]
        parts.append(
            rank_queries(unit_NE[some] @ unit_NE.T, asked, images.individuals, excluded_QN)
        )
    return RankedQueries(
        np.concatenate([one.average_precision_Q for one in parts]),
        np.concatenate([one.first_match_Q for one in parts]),
    )
