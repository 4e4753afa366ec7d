"""Ask a gallery who is shown: from embedded images to answers.

Shape suffixes: I individuals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.image_sources import ImageSource
from holotype.identification.matched_images import read_small
from holotype.identification.matching.gallery_calibration import Calibration
from holotype.identification.matching.local_agreement import local_agreement
from holotype.identification.matching.pair_rule import sigmoid
from holotype.identification.matching.rank_individuals import RankedQuestion, rank_individuals
from holotype.identification.new_individual import NewIndividualThreshold
from holotype.identification.pair_comparison import PairComparison
from holotype.identification.query_result import (
    Identification,
    MatchedImages,
    RankedIndividual,
)
from holotype.identification.storage.gallery_images import (
    GalleryImage,
    GalleryImages,
    ImageBlock,
    coarse_pixels,
)


@dataclass(frozen=True, eq=False)
class FittedGallery:
    """A gallery with what was fitted on it.

    Attributes:
        gallery: its images.
        calibration: its rule and probabilities.
        threshold: for new individuals; None where there are too few known ones.
    """

    gallery: GalleryImages
    calibration: Calibration
    threshold: NewIndividualThreshold | None


def questions_of(images: Sequence[GalleryImage]) -> dict[str, list[int]]:
    """The rows of each question, by its name: an encounter, or an image without one."""
    questions: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        questions.setdefault(image.encounter or image.file, []).append(row)
    return questions


def answer_questions(
    asked: ImageBlock, questions: dict[str, list[int]], fitted: FittedGallery, *, top: int
) -> list[Identification]:
    """The likeliest individuals of every question.

    Args:
        top: how many are named at most.
    """
    ranked = rank_individuals(
        asked,
        list(questions.values()),
        fitted.gallery,
        register=fitted.calibration.rule.uses_registration,
    )
    return [
        _answer(name, one, asked, fitted, top) for name, one in zip(questions, ranked, strict=True)
    ]


def _answer(
    name: str, found: RankedQuestion, asked: ImageBlock, fitted: FittedGallery, top: int
) -> Identification:
    calibration, threshold = fitted.calibration, fitted.threshold
    score_I = found.scores(calibration.rule)
    probability_I, new_probability = calibration.probabilities(score_I)
    likeliest = [int(i) for i in np.argsort(-score_I, kind="stable")[:top]]
    likeliest = [i for i in likeliest if np.isfinite(score_I[i])]
    comparable_I = _comparable_images(found, asked, fitted.gallery)
    ranked = tuple(
        RankedIndividual(
            individual=fitted.gallery.individuals[i],
            probability=float(probability_I[i]),
            score=float(score_I[i]),
            best_pair=_best_pair(found, i, asked, fitted),
            num_images=int(comparable_I[i]),
        )
        for i in likeliest
    )
    is_new = None if threshold is None or not ranked else threshold.is_new(ranked[0].score)
    images = tuple(asked.images[row].file for row in found.rows)
    return Identification(name, images, ranked, new_probability, is_new)


def _comparable_images(
    found: RankedQuestion, asked: ImageBlock, gallery: GalleryImages
) -> NDArray[np.int64]:
    """How many images of every individual could be compared with one of the question."""
    numbers = {gallery.attribute_number(asked.images[row]) for row in found.rows}
    rows = np.flatnonzero(np.isin(gallery.attributes_N, list(numbers)))
    return np.bincount(gallery.individual_N[rows], minlength=len(gallery.individuals))


def _best_pair(
    found: RankedQuestion, individual: int, asked: ImageBlock, fitted: FittedGallery
) -> MatchedImages:
    pair = found.best_pair(individual, fitted.calibration.rule)
    return MatchedImages(
        asked=asked.images[pair.asked].file,
        known=fitted.gallery.images[pair.known].file,
        cosine=float(pair.measures_F[0]),
        correlation=None if pair.window_4 is None else float(pair.measures_F[2]),
        window=None if pair.window_4 is None else tuple(pair.window_4.tolist()),
    )


def compare_pair(
    block: ImageBlock, sources: Sequence[ImageSource], calibration: Calibration
) -> PairComparison:
    """Whether two embedded images show one individual.

    Args:
        sources: what they were read from.
    """
    agreement = local_agreement(block.thumbnails_NSS[:1], block.thumbnails_NSS[1:])
    cosine = float(block.embeddings_ND[0] @ block.embeddings_ND[1])
    correlation = float(agreement.correlation_N[0])
    first_P, second_P = coarse_pixels(block.thumbnails_NSS)
    coarse = float(first_P @ second_P)
    measures_NF = np.array([[cosine, coarse, correlation, float(agreement.log_difference_N[0])]])
    first, second = (read_small(source) for source in sources)
    return PairComparison(
        first=block.images[0].file,
        second=block.images[1].file,
        probability=float(sigmoid(calibration.rule.logits(measures_NF))[0]),
        cosine=cosine,
        correlation=correlation,
        window=tuple(agreement.window_N4[0].tolist()),
        notes=(calibration.note,) if calibration.note else (),
        images=None if first is None or second is None else (first, second),
    )
