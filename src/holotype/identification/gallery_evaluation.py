"""How well a gallery knows individuals again, as a value: scores with intervals, and questions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holotype.comparison.retrieval.ranking_metrics import RankingMetrics
from holotype.errors import ImageError, NotComparable
from holotype.evaluation.intervals import Estimate, SamplingUnits, undefined
from holotype.files import read_json, reading
from holotype.identification.metrics.identity_intervals import interval_by_identity
from holotype.identification.metrics.open_set_metrics import OpenSetAccuracy, OpenSetRoc
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

EVALUATION = "evaluation.json"
HIDDEN = " (hidden)"  # after the name of an individual whose images were hidden on purpose
HEADER = ("score", "value", "low", "high")


@dataclass(frozen=True)
class EvaluatedQuestion:
    """One question whose answer is known.

    Attributes:
        name: the encounter or image.
        individual: who it is about; with " (hidden)" where its images were hidden on purpose.
        is_known: whether the gallery holds a comparable image of the individual.
        num_images: of the question.
        answer: who it is said to be; "" for somebody new.
        nearest: the likeliest individual, whether or not it is called new.
        rank: of the right individual, from 1; 0 where it is not known.
        probability: of what is right: the individual, or somebody new.
        new_probability: of somebody new.
        best_score: of the likeliest individual; None where none could be compared.
    """

    name: str
    individual: str
    is_known: bool
    num_images: int
    answer: str
    nearest: str
    rank: int
    probability: float
    new_probability: float
    best_score: float | None

    @property
    def is_right(self) -> bool:
        """Whether a known individual is named, or an unknown one called new."""
        return self.answer == (self.individual if self.is_known else "")


@dataclass(frozen=True)
class HardPair:
    """A question whose own individual is least alike, beside the likeliest other.

    Attributes:
        name, individual: of the question.
        other: the likeliest other individual.
        margin: score of the own individual minus that of the other.
        asked: the image of the question that is most like its own individual.
        own_image, other_image: the images of the gallery most like the question.
    """

    name: str
    individual: str
    other: str
    margin: float
    asked: str
    own_image: str
    other_image: str


@dataclass(frozen=True)
class EvaluationDifference:
    """Another evaluation on the same questions, paired.

    Attributes:
        other: where it is from.
        num_questions: that both have.
        rank_1: share of known individuals named first, here minus there, by individual.
        right: share of all questions answered right, here minus there, by individual.
    """

    other: str
    num_questions: int
    rank_1: Estimate
    right: Estimate

    def __str__(self) -> str:
        return (
            f"minus {self.other}, on {pluralize(self.num_questions, 'question')} of both: rank-1 "
            f"{self.rank_1}, answered right {self.right}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self), "rank_1": self.rank_1.to_json(), "right": self.right.to_json()
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class GalleryEvaluation:
    """All scores of some questions to a gallery; intervals are by individual.

    Attributes:
        questions: each with its answer.
        ranking: individuals ranked for each question, as `query` does.
        images: images ranked for each image, by the cosine alone.
        open_set: balanced accuracy of known (BAKS) and unknown (BAUS) individuals.
        roc: known against unknown over all thresholds; None without both.
        discovery: the adjusted Rand index of individuals found among the questions alone.
        hard_pairs: the questions that were hardest.
        rate: at which known individuals may be called new.
        difference: to another evaluation; None unless asked for.
        notes: what a reader has to know.
        refused, warnings: images that could not be used; what of images is not used.
    """

    questions: tuple[EvaluatedQuestion, ...]
    ranking: RankingMetrics
    images: RankingMetrics
    open_set: OpenSetAccuracy
    roc: OpenSetRoc | None
    discovery: Estimate
    hard_pairs: tuple[HardPair, ...]
    rate: float
    difference: EvaluationDifference | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[ImageError, ...] = ()
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Estimate]:
        """Every score by name."""
        found = {f"rank_{k}": each for k, each in self.ranking.rank.items()}
        found["image_map"] = self.images.mean_average_precision
        found |= {f"image_rank_{k}": each for k, each in self.images.rank.items()}
        found |= {"baks": self.open_set.known, "baus": self.open_set.unknown}
        if self.roc is not None:
            found["auroc_known_unknown"] = self.roc.area_known_unknown
            for rate, each in self.roc.identification_rate_at.items():
                found[f"identification_rate_at_{rate:g}"] = each
        return {**found, "discovery_ari": self.discovery}

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Header and rows for a terminal."""

        def cell(value: float | None) -> str:
            return "" if value is None else f"{value:.3f}"

        return HEADER, [
            [name, cell(each.value), cell(each.low), cell(each.high)]
            for name, each in self.metrics.items()
        ]

    def columns(self) -> dict[str, list[Any]]:
        """What `questions.csv` holds: one row for each question."""
        rows = [{**vars(one), "is_right": one.is_right} for one in self.questions]
        return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}

    def to_frame(self) -> "pd.DataFrame":
        """One row for each question."""
        return data_frame(self.columns())

    def to_json(self) -> dict[str, Any]:
        roc = self.roc and {
            "thresholds": self.roc.thresholds_T.tolist(),
            "false_alarm_rate": self.roc.false_alarm_rate_T.tolist(),
            "identification_rate": self.roc.identification_rate_T.tolist(),
        }
        return {
            "metrics": {name: each.to_json() for name, each in self.metrics.items()},
            "cumulative_match": self.ranking.cumulative_match_K.tolist(),
            "rate": self.rate,
            "num_questions": len(self.questions),
            "num_individuals": self.ranking.num_identities,
            "difference": self.difference and self.difference.to_json(),
            "notes": list(self.notes),
            "roc": roc,
            "hard_pairs": [dict(vars(one)) for one in self.hard_pairs],
            "questions": [dict(vars(one)) for one in self.questions],
        }

    @property
    def title(self) -> str:
        known = sum(one.is_known for one in self.questions)
        return (
            f"{pluralize(known, 'question')} about known and {len(self.questions) - known:,} about "
            f"unknown individuals"
        )

    def __repr__(self) -> str:
        return short_text(self.title, text_table(*self.table()))

    def _repr_html_(self) -> str:
        return html_result(self.title, html_table(*self.table()), notes=self.notes)


def read_questions(other: Path) -> list[EvaluatedQuestion]:
    """The questions of an evaluation that was written.

    Args:
        other: its directory or `evaluation.json`.

    Raises:
        CorruptFile: it is none.
    """
    file = other / EVALUATION if other.is_dir() else other
    content = read_json(file)
    with reading(file):
        return [EvaluatedQuestion(**row) for row in content["questions"]]


def difference_to(
    found: GalleryEvaluation, other: str, there: Sequence[EvaluatedQuestion]
) -> EvaluationDifference:
    """Compare with another evaluation question by question, with intervals by individual.

    Args:
        other: what it is called.
        there: its questions.

    Raises:
        NotComparable: both have no question in common.
    """
    by_key = {(one.name, one.individual): one for one in there}
    pairs = [
        (one, by_key[one.name, one.individual])
        for one in found.questions
        if (one.name, one.individual) in by_key
    ]
    if not pairs:
        raise NotComparable(f"{other!r} has no question in common with this evaluation.")
    known = [(a, b) for a, b in pairs if a.is_known and b.is_known]
    return EvaluationDifference(
        other=other,
        num_questions=len(pairs),
        rank_1=_mean_difference(known, lambda one: one.rank == 1),
        right=_mean_difference(pairs, lambda one: one.is_right),
    )


def _mean_difference(
    pairs: list[tuple[EvaluatedQuestion, EvaluatedQuestion]],
    is_success: Callable[[EvaluatedQuestion], bool],
) -> Estimate:
    gain_N = np.array([is_success(a) - is_success(b) for a, b in pairs], np.float64)
    units = SamplingUnits.of_groups([a.individual.removesuffix(HIDDEN) for a, _ in pairs])
    if not pairs:
        return undefined("no question about a known individual")
    return interval_by_identity(
        lambda weights_NR: gain_N @ weights_NR / weights_NR.sum(0), units, lowest=-1, highest=1
    )
