"""Who is this? What a gallery answers: individuals with probabilities, or somebody new."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holotype.errors import ImageError
from holotype.identification.new_individual import NewIndividualThreshold
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("question", "images", "answer", "probability", "individual", "new", "like")


@dataclass(frozen=True)
class MatchedImages:
    """The pair of images that speaks most for an individual.

    Attributes:
        asked: the image of the question.
        known: the image of the gallery.
        cosine: of their embeddings.
        correlation: after registration, from 0 to 1; None where they were not registered.
        window: where `asked` lies in `known`: start and extent down, start and extent across, as
            fractions of a side; None where they were not registered.
    """

    asked: str
    known: str
    cosine: float
    correlation: float | None
    window: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RankedIndividual:
    """One individual that a question may be about.

    Attributes:
        individual: its name.
        probability: that the question is about it.
        score: the evidence of its best pairs, as a logit; larger is more alike.
        best_pair: the images that speak most for it.
        num_images: of it in the gallery that could be compared.
    """

    individual: str
    probability: float
    score: float
    best_pair: MatchedImages
    num_images: int

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "best_pair": dict(vars(self.best_pair))}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RankedIndividual":
        pair = dict(found["best_pair"])
        window = pair["window"]
        pair["window"] = None if window is None else tuple(window)
        return cls(**{**found, "best_pair": MatchedImages(**pair)})


@dataclass(frozen=True)
class Identification:
    """The answer to one question: one image, or the images of one encounter.

    Attributes:
        name: the image, or the encounter.
        images: what was asked about.
        ranked: the likeliest individuals, the first first.
        new_probability: that it is nobody of the gallery.
        is_new: whether it is called a new individual, at the stated rate; None where the gallery
            has too few individuals to say.
    """

    name: str
    images: tuple[str, ...]
    ranked: tuple[RankedIndividual, ...]
    new_probability: float
    is_new: bool | None

    @property
    def best(self) -> RankedIndividual | None:
        """The likeliest individual; None where none could be compared."""
        return self.ranked[0] if self.ranked else None

    @property
    def answer(self) -> str:
        """The likeliest individual, or `new`."""
        return "new" if self.is_new or self.best is None else self.best.individual

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "images": list(self.images),
            "ranked": [one.to_json() for one in self.ranked],
            "answer": self.answer,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Identification":
        fields = {name: value for name, value in found.items() if name != "answer"}
        ranked = tuple(RankedIndividual.from_json(one) for one in found["ranked"])
        return cls(**{**fields, "images": tuple(found["images"]), "ranked": ranked})


@dataclass(frozen=True, repr=False)
class Identifications(Sequence[Identification]):
    """The answers to all questions of a query, in their order.

    Attributes:
        answers: one for each question.
        threshold: below which somebody is called new, and how often that is a mistake; None where
            the gallery has too few individuals to say.
        notes: what a reader of the probabilities has to know.
        refused: images that could not be used.
        warnings: id of an image -> what of it is not used.
    """

    answers: tuple[Identification, ...]
    threshold: NewIndividualThreshold | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[ImageError, ...] = ()
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, key: Any) -> Any:
        return self.answers[key]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Header and rows for a terminal: the likeliest individual of every question."""
        rows: list[list[object]] = []
        for one in self.answers:
            best = one.best
            likeliest: list[object] = ["", "", ""] if best is None else [
                f"{best.probability:.3f}", best.individual, best.best_pair.known
            ]  # fmt: skip
            probability, individual, like = likeliest
            rows.append(
                [one.name, len(one.images), one.answer, probability, individual,
                 f"{one.new_probability:.3f}", like]
            )  # fmt: skip
        return HEADER, rows

    def to_frame(self) -> "pd.DataFrame":
        """One row for each question and individual that was ranked."""
        rows = [
            {
                "question": one.name,
                "answer": one.answer,
                "new_probability": one.new_probability,
                "rank": rank,
                "individual": each.individual,
                "probability": each.probability,
                "score": each.score,
                **vars(each.best_pair),
            }
            for one in self.answers
            for rank, each in enumerate(one.ranked, start=1)
        ]
        return data_frame({name: [row[name] for row in rows] for name in rows[0]} if rows else {})

    def to_json(self) -> dict[str, Any]:
        return {
            "questions": [one.to_json() for one in self.answers],
            "threshold": self.threshold and self.threshold.to_json(),
            "notes": list(self.notes),
            "refused": [
                {"file": one.file, "problem": one.problem, "reason": one.reason}
                for one in self.refused
            ],
        }

    @property
    def threshold_note(self) -> str:
        """How often a known individual is called new; "" where nobody is."""
        if self.threshold is None:
            return ""
        known = pluralize(self.threshold.num_identities, "individual")
        return (
            f"called new at a rate of {self.threshold.rate:g}: of questions about {known} of the "
            f"gallery, {self.threshold.measured} were"
        )

    @property
    def _title(self) -> str:
        return f"Answers to {pluralize(len(self), 'question')}"

    def __repr__(self) -> str:
        return short_text(self._title, text_table(*self.table(), max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        return html_result(
            self._title, html_table(*self.table()), notes=[*self.notes, self.threshold_note]
        )
