"""Rank the individuals of a gallery for questions: one image, or several of one encounter.

Every image of a question is compared with all images of the gallery by the cosine, and by their
correlation at 12 by 12 pixels; the better of both ranks names the best image of every
individual. Those of the likeliest individuals are then registered with it, and the pair rule fuses
all measures. The score of an individual is the mean, over the images of the question that can be
compared with it, of the best pair's evidence: several images of one encounter are one question, and
since they are not independent their evidence is averaged and not added.

Images whose attributes differ, such as left and right sides, are never compared.

Shape suffixes: Q images of all questions, N images of the gallery, I individuals, K registered,
F measures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from holotype.identification.matching.local_agreement import local_agreement
from holotype.identification.matching.pair_rule import MEASURES, PairRule
from holotype.identification.storage.gallery_images import GalleryImages, ImageBlock

RERANKED = 8  # individuals whose best image is registered with an image of a question
_IMAGES_AT_ONCE = 64  # of questions, whose cosines with the gallery are in memory


@dataclass(frozen=True, eq=False)
class BestPairs:
    """One image of a question against every individual.

    Attributes:
        row_I: the gallery's image of each individual that stands out most; -1 without a comparable.
        measures_IF: of that pair, NaN where it was not measured.
        standing_out_I: minus the rank of that image, the better one of its two.
        windows: number of an individual -> `LocalAgreement.window_N4` of that pair, if registered.
    """

    row_I: NDArray[np.int64]
    measures_IF: NDArray[np.float64]
    standing_out_I: NDArray[np.float64]
    windows: dict[int, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RankedQuestion:
    """One question against every individual.

    Attributes:
        rows: its images, by their number among all that were asked about.
        pairs: of each of them.
    """

    rows: tuple[int, ...]
    pairs: tuple[BestPairs, ...]

    @property
    def compared_I(self) -> NDArray[np.bool_]:
        """Which individuals have an image that could be compared."""
        return np.asarray(np.stack([pair.row_I >= 0 for pair in self.pairs]).any(0))

    def scores(self, rule: PairRule) -> NDArray[np.float64]:
        """The evidence for every individual (I); -inf where nothing could be compared.

        The mean over the images of the question that have a comparable one.
        """
        compared_QI = np.stack([pair.row_I >= 0 for pair in self.pairs])
        logits_QI = np.stack([rule.logits(pair.measures_IF) for pair in self.pairs])
        total_I, count_I = np.where(compared_QI, logits_QI, 0).sum(0), compared_QI.sum(0)
        return np.where(count_I > 0, total_I / np.maximum(count_I, 1), -np.inf)

    def alone(self, place: int) -> "RankedQuestion":
        """One of its images as a question of its own."""
        return RankedQuestion((self.rows[place],), (self.pairs[place],))

    def best_pair(self, individual: int, rule: PairRule) -> "BestPair":
        """The most telling pair of an individual that could be compared."""
        compared = [n for n, pair in enumerate(self.pairs) if pair.row_I[individual] >= 0]
        logits = [rule.logits(self.pairs[n].measures_IF[[individual]])[0] for n in compared]
        best = compared[int(np.argmax(logits))]
        pair = self.pairs[best]
        return BestPair(
            self.rows[best],
            int(pair.row_I[individual]),
            pair.measures_IF[individual],
            pair.windows.get(individual),
        )


@dataclass(frozen=True, eq=False)
class BestPair:
    """An image that is asked about and one of the gallery, by their numbers."""

    asked: int
    known: int
    measures_F: NDArray[np.float64]
    window_4: NDArray[np.float64] | None


def rank_individuals(
    asked: ImageBlock,
    questions: Sequence[Sequence[int]],
    gallery: GalleryImages,
    *,
    hidden_N: Sequence[NDArray[np.bool_]] | None = None,
    register: bool = True,
) -> Iterator[RankedQuestion]:
    """Compare every question with every individual, in their order.

    Args:
        asked: the images of all questions.
        questions: the rows of `asked` that each is of.
        hidden_N: for every question the images of the gallery that do not count, such as itself.
        register: whether more than the cosine is looked at, which need not be where the rule
            ignores it.
    """
    for some in _batches(questions):
        rows = [row for number in some for row in questions[number]]
        similarities = [gallery.cosines_QN(asked.embeddings_ND[rows])]
        if register:
            similarities.append(gallery.coarse_correlations_QN(asked.thumbnails_NSS[rows]))
        hidden = {
            row: None if hidden_N is None else hidden_N[number]
            for number in some
            for row in questions[number]
        }
        found = {
            row: _best_images(
                [one_QN[place] for one_QN in similarities], asked, row, gallery, hidden[row]
            )
            for place, row in enumerate(rows)
        }
        if register:
            _register_likeliest(found, asked, gallery)
        for number in some:
            pairs = tuple(found[row] for row in questions[number])
            yield RankedQuestion(tuple(questions[number]), pairs)


def _batches(questions: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for number, rows in enumerate(questions):
        if batch and size + len(rows) > _IMAGES_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += len(rows)
    if batch:
        yield batch


def _best_images(
    similarities: list[NDArray[np.float32]],
    asked: ImageBlock,
    row: int,
    gallery: GalleryImages,
    hidden_N: NDArray[np.bool_] | None,
) -> BestPairs:
    """The image of every individual whose cosine or coarse correlation stands out most.

    Args:
        similarities: one or both, (N) each.
    """
    counts_N = gallery.attributes_N == gallery.attribute_number(asked.images[row])
    if hidden_N is not None:
        counts_N &= ~hidden_N
    rows = np.flatnonzero(counts_N)
    I = len(gallery.individuals)
    pairs = BestPairs(np.full(I, -1), np.full((I, len(MEASURES)), np.nan), np.full(I, -np.inf))
    if not len(rows):
        return pairs
    standing_out = -np.min([_ranks(one_N[rows]) for one_N in similarities], axis=0)
    # Sorted by individual and then by how they stand out, the last row of each is its best.
    order = np.lexsort((standing_out, gallery.individual_N[rows]))
    individuals = gallery.individual_N[rows[order]]
    last = np.flatnonzero(np.append(individuals[1:] != individuals[:-1], True))
    best = rows[order[last]]
    pairs.row_I[individuals[last]] = best
    pairs.standing_out_I[individuals[last]] = standing_out[order[last]]
    for measure, one_N in enumerate(similarities):
        pairs.measures_IF[individuals[last], measure] = one_N[best]
    return pairs


def _ranks(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rank of each, 0 for the largest: ranks of both similarities can be compared."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return ranks


def _register_likeliest(
    found: dict[int, BestPairs], asked: ImageBlock, gallery: GalleryImages
) -> None:
    """Fill in the local agreement of each image with the likeliest individuals."""
    likeliest = {}
    for row, pairs in found.items():
        few_K = np.argsort(-pairs.standing_out_I, kind="stable")[:RERANKED]
        likeliest[row] = few_K[pairs.row_I[few_K] >= 0]
    asked_rows = np.repeat(list(likeliest), [len(few_K) for few_K in likeliest.values()])
    if not len(asked_rows):
        return
    gallery_rows = np.concatenate([found[row].row_I[few_K] for row, few_K in likeliest.items()])
    agreement = local_agreement(asked.thumbnails_NSS[asked_rows], gallery.thumbnails(gallery_rows))
    start = 0
    for row, few_K in likeliest.items():
        stop = start + len(few_K)
        found[row].measures_IF[few_K, 2] = agreement.correlation_N[start:stop]
        found[row].measures_IF[few_K, 3] = agreement.log_difference_N[start:stop]
        found[row].windows.update(zip(few_K.tolist(), agreement.window_N4[start:stop], strict=True))
        start = stop
