"""Group unknown images into individuals.

Every question (an encounter, or an image without one) is compared with every other, as with a
gallery. Groups are joined, the most alike first, as long as the mean score between two of them says
that they are likelier one individual than two (average linkage); what cannot be compared, such as a
left and a right side, counts for nothing. How sure a group is: it is made anew of random parts of
the questions, and counted is how often two of them come together.

Source:
    Monti, Tamayo, Mesirov and Golub 2003, "Consensus Clustering".

Shape suffixes: U questions, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import ImageError
from holotype.identification.matching.gallery_calibration import Calibration
from holotype.identification.matching.rank_individuals import rank_individuals
from holotype.identification.storage.gallery_images import GalleryImages, ImageBlock
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

NUM_RESAMPLES = 100
SHARE = 0.8  # of the questions in each resample
HEADER = ("individual", "images", "questions", "confidence")


@dataclass(frozen=True)
class DiscoveredIndividual:
    """A group of questions that seem to be about one individual.

    Attributes:
        name: `unknown-1`, …, the largest first.
        questions: their names: encounters, or images.
        images: of all of them.
        confidence: how often the group holds, from 0 to 1: of two or more questions, how often two
            of them come together in parts of the data; of one alone, how often it stays alone.
    """

    name: str
    questions: tuple[str, ...]
    images: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, repr=False)
class Discovery(Sequence[DiscoveredIndividual]):
    """The individuals that were found among unknown images.

    Attributes:
        individuals: the largest first.
        questions: how many there were.
        notes: what a reader has to know.
        refused: images that could not be used.
        warnings: id of an image -> what of it is not used.
    """

    individuals: tuple[DiscoveredIndividual, ...]
    questions: int
    notes: tuple[str, ...] = ()
    refused: tuple[ImageError, ...] = ()
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.individuals)

    def __getitem__(self, key: Any) -> Any:
        return self.individuals[key]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Header and rows for a terminal."""
        return HEADER, [
            [one.name, len(one.images), len(one.questions), f"{one.confidence:.2f}"]
            for one in self.individuals
        ]

    def columns(self) -> dict[str, list[Any]]:
        """One row for each image; `add` takes it as a table once names are filled in."""
        rows = [
            (image, one.name, one.confidence) for one in self.individuals for image in one.images
        ]
        names = ("path", "individual", "confidence")
        return {name: [row[n] for row in rows] for n, name in enumerate(names)}

    def to_frame(self) -> "pd.DataFrame":
        """One row for each image."""
        return data_frame(self.columns())

    def to_json(self) -> dict[str, Any]:
        return {
            "individuals": [
                {**vars(one), "questions": list(one.questions), "images": list(one.images)}
                for one in self.individuals
            ],
            "questions": self.questions,
            "notes": list(self.notes),
            "refused": [
                {"file": one.file, "problem": one.problem, "reason": one.reason}
                for one in self.refused
            ],
        }

    @property
    def _title(self) -> str:
        found = pluralize(len(self), "individual")
        return f"{found} among {pluralize(self.questions, 'question')}"

    def __repr__(self) -> str:
        return short_text(self._title, text_table(*self.table(), max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(*self.table()), notes=self.notes)


def discover_individuals(
    asked: ImageBlock,
    questions: dict[str, list[int]],
    calibration: Calibration,
    *,
    with_confidence: bool = True,
    seed: int = 0,
) -> tuple[DiscoveredIndividual, ...]:
    """Group the questions by who they seem to be about.

    Args:
        questions: the rows of `asked` that each is of.
        calibration: of the gallery whose classifier embedded them.
        with_confidence: whether it is measured how sure the groups are; else it is 1.
    """
    score_UU = _scores(asked, questions, calibration)
    U = len(questions)
    # One other individual is likelier than somebody new from here on; see `Calibration`.
    cut = (calibration.new_offset + np.log(max(1, U - 1))) / max(calibration.evidence_weight, 1e-6)
    cluster_U = average_linkage(score_UU, cut)
    together_UU = np.ones((U, U))
    if with_confidence:
        together_UU = _co_assignment(score_UU, cut, seed)
    names, found = list(questions), []
    for cluster in range(cluster_U.max(initial=-1) + 1):
        members = np.flatnonzero(cluster_U == cluster)
        rows = [row for number in members for row in questions[names[number]]]
        found.append(
            DiscoveredIndividual(
                "",
                tuple(names[number] for number in members),
                tuple(asked.images[row].file for row in rows),
                _confidence(together_UU, members),
            )
        )
    found.sort(key=lambda one: (-len(one.images), one.images))
    return tuple(replace(one, name=f"unknown-{n}") for n, one in enumerate(found, start=1))


def _scores(
    asked: ImageBlock, questions: dict[str, list[int]], calibration: Calibration
) -> NDArray[np.float64]:
    """The score of every pair of questions, the same both ways; -inf where none can be compared."""
    of_question = np.repeat(np.arange(len(questions)), [len(rows) for rows in questions.values()])
    block = asked.select([row for rows in questions.values() for row in rows])
    named = tuple(
        replace(image, individual=f"{number:09d}")
        for image, number in zip(block.images, of_question.tolist(), strict=True)
    )
    others = GalleryImages((replace(block, images=named),))
    hidden = [of_question == number for number in range(len(questions))]
    ranked = rank_individuals(
        asked, list(questions.values()), others, hidden_N=hidden,
        register=calibration.rule.uses_registration,
    )  # fmt: skip
    score_UU = np.stack([one.scores(calibration.rule) for one in ranked])
    return np.maximum(score_UU, score_UU.T)  # the one that was registered, where only one was


def average_linkage(score_UU: NDArray[np.float64], cut: float) -> NDArray[np.int64]:
    """Clusters (U), numbered from 0, whose mean score with any other cluster is below the cut.

    A mean above the cut needs one pair above it, so only what such pairs connect is looked at.

    Args:
        score_UU: symmetric; -inf where a pair counts for nothing.
    """
    from scipy.sparse.csgraph import connected_components

    known_UU = np.isfinite(score_UU)
    np.fill_diagonal(known_UU, False)
    _, component_U = connected_components(known_UU & (score_UU > cut), directed=False)
    cluster_U, next_cluster = np.empty(len(score_UU), np.int64), 0
    for component in range(component_U.max(initial=-1) + 1):
        members = np.flatnonzero(component_U == component)
        inner = np.ix_(members, members)
        labels = _linked(np.where(known_UU, score_UU, 0)[inner], known_UU[inner], cut)
        cluster_U[members] = next_cluster + labels
        next_cluster += labels.max() + 1
    return cluster_U


def _linked(
    score_UU: NDArray[np.float64], known_UU: NDArray[np.bool_], cut: float
) -> NDArray[np.int64]:
    """Average linkage of a few: sums and counts of two clusters add up when they are joined."""
    total, count = score_UU.copy(), known_UU.astype(np.float64)
    label_U = np.arange(len(total))
    while True:
        mean = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
        np.fill_diagonal(mean, -np.inf)
        kept, joined = sorted(np.unravel_index(mean.argmax(), mean.shape))
        if mean[kept, joined] <= cut:
            return np.unique(label_U, return_inverse=True)[1]
        for array in (total, count):
            array[kept] += array[joined]
            array[:, kept] += array[:, joined]
            array[joined] = array[:, joined] = 0
        label_U[label_U == joined] = kept


def _co_assignment(score_UU: NDArray[np.float64], cut: float, seed: int) -> NDArray[np.float64]:
    """How often two questions come together, of the resamples that hold both."""
    random, U = np.random.default_rng(seed), len(score_UU)
    together_UU, both_UU = np.zeros((U, U)), np.zeros((U, U))
    for _ in range(NUM_RESAMPLES):
        some = np.sort(random.permutation(U)[: max(2, round(SHARE * U))])
        inner = np.ix_(some, some)
        cluster = average_linkage(score_UU[inner], cut)
        together_UU[inner] += cluster[:, None] == cluster
        both_UU[inner] += 1
    return together_UU / np.maximum(both_UU, 1)


def _confidence(together_UU: NDArray[np.float64], members: NDArray[np.int64]) -> float:
    if len(members) == 1:
        others = np.delete(together_UU[members[0]], members[0])
        return 1 - float(others.max(initial=0))
    inner = together_UU[np.ix_(members, members)]
    return float(inner[np.triu_indices(len(members), 1)].mean())
