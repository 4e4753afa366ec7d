"""How well does a gallery know individuals again? Measured on questions whose answer is known.

With labelled data, each of its encounters is a question, with what the gallery holds of the same
individual and encounter hidden; individuals that it does not hold should be called new. Without,
the gallery's own encounters are the questions, each with its own images hidden, and once more with
its whole individual hidden, as if it were new; pair rule, probabilities and threshold are then
fitted on the other individuals (five folds), so that no question is answered by what was fitted on
its individual. Discovery compares individuals of all folds with each other, by the fit of one of
them.

Shape suffixes: M questions, Q images asked about, R images of the gallery, I individuals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.retrieval.ranking_metrics import (
    RankingMetrics,
    rank_queries,
    ranking_metrics,
)
from holotype.errors import UsageError
from holotype.evaluation.intervals import Estimate
from holotype.identification.discovery import discover_individuals
from holotype.identification.gallery_evaluation import (
    HIDDEN,
    EvaluatedQuestion,
    GalleryEvaluation,
    HardPair,
)
from holotype.identification.matching.gallery_calibration import (
    Calibration,
    HeldOutQuestions,
    fit_calibration,
)
from holotype.identification.matching.rank_individuals import RankedQuestion, rank_individuals
from holotype.identification.metrics.discovery_metrics import adjusted_rand_index
from holotype.identification.metrics.open_set_metrics import (
    OpenSetRoc,
    open_set_accuracy,
    open_set_roc,
)
from holotype.identification.query_gallery import FittedGallery, questions_of
from holotype.identification.storage.gallery_images import GalleryImages, ImageBlock

FOLDS = 5
MOST_QUESTIONS = 1000  # of a gallery's own, taken evenly over its individuals
MOST_DISCOVERED = 600  # questions that are grouped anew for the adjusted Rand index
NUM_HARD_PAIRS = 12


@dataclass(frozen=True, eq=False)
class LabelledQuestions:
    """Questions whose answer is known, compared with a gallery.

    Attributes:
        asked: the images of all questions.
        names: of the questions.
        identities: who each is about.
        ranked: each against every individual of the gallery.
        hidden: of each the images of the gallery that do not count.
        calibrations: what judges each; it was not fitted on its individual.
        rate: at which known individuals may be called new.
        notes: what of the gallery was not asked about.
        judged_by: who the calibrations are fitted on, where it is not the whole gallery; the
            beginning of a sentence.
    """

    asked: ImageBlock
    names: tuple[str, ...]
    identities: tuple[str, ...]
    ranked: tuple[RankedQuestion, ...]
    hidden: Sequence[NDArray[np.bool_]]
    calibrations: tuple[Calibration, ...]
    rate: float
    notes: tuple[str, ...] = ()
    judged_by: str = ""


def questions_of_data(data: ImageBlock, fitted: FittedGallery, rate: float) -> LabelledQuestions:
    """The encounters of labelled images as questions to a gallery."""
    questions: dict[tuple[str, str], list[int]] = {}
    for name, rows in questions_of(data.images).items():
        for row in rows:  # an encounter may be of several individuals: each is a question
            questions.setdefault((name, data.images[row].individual), []).append(row)
    gallery = fitted.gallery
    names_N = np.array([image.individual for image in gallery], object)
    hidden = []
    for (_, individual), rows in questions.items():
        asked = [data.images[row] for row in rows]
        same_N = np.isin(gallery.encounter_N, [image.encounter_key for image in asked])
        copies_N = np.isin(gallery.sha256_N, [image.sha256 for image in asked])
        hidden.append(copies_N | (same_N & (names_N == individual)))
    ranked = rank_individuals(data, list(questions.values()), gallery, hidden_N=hidden)
    return LabelledQuestions(
        data,
        tuple(name for name, _ in questions),
        tuple(individual for _, individual in questions),
        tuple(ranked),
        hidden,
        (fitted.calibration,) * len(questions),
        rate,
    )


def questions_of_gallery(gallery: GalleryImages, rate: float) -> LabelledQuestions:
    """The encounters of a gallery as questions to itself, each judged by what others fitted."""
    held_out, notes = HeldOutQuestions.of(gallery), []
    if len(held_out.rows) > MOST_QUESTIONS:
        notes.append(
            f"{MOST_QUESTIONS:,} of the {len(held_out.rows):,} encounters of the gallery are asked "
            "about, taken evenly over its individuals"
        )
        held_out = HeldOutQuestions.of(gallery, MOST_QUESTIONS)
    asked, questions = held_out.asked(gallery)
    hidden = held_out.hidden_N(gallery)
    ranked = tuple(rank_individuals(asked, questions, gallery, hidden_N=hidden))
    individual_M = held_out.individual_M
    fold_M = individual_M % FOLDS
    of_fold = [
        fit_calibration(gallery, [one for one, f in zip(ranked, fold_M, strict=True) if f != fold],
                        individual_M[fold_M != fold])
        for fold in range(FOLDS)
    ]  # fmt: skip
    names = [asked.images[rows[0]] for rows in questions]
    return LabelledQuestions(
        asked,
        tuple(image.encounter or image.file for image in names),
        tuple(image.individual for image in names),
        ranked,
        hidden,
        tuple(of_fold[fold] for fold in fold_M),
        rate,
        tuple(notes),
        f"each question is judged without one in {FOLDS} of the individuals, its own among them, "
        "and of the others ",
    )


def evaluate_questions(
    found: LabelledQuestions, gallery: GalleryImages, *, hide_individuals: bool
) -> GalleryEvaluation:
    """All scores of some questions.

    Args:
        hide_individuals: ask every question again as if its individual were new.

    Raises:
        UsageError: no question can be compared with anything.
    """
    number_of = {name: number for number, name in enumerate(gallery.individuals)}
    own_M = np.array([number_of.get(name, -1) for name in found.identities], np.int64)
    score_MI = np.stack(
        [one.scores(fit.rule) for one, fit in zip(found.ranked, found.calibrations, strict=True)]
    )
    if not np.isfinite(score_MI).any():
        raise UsageError(
            "no question can be compared with an image of the gallery; do the attributes agree?"
        )
    asked = [_question(found, gallery, m, score_MI[m], int(own_M[m])) for m in range(len(own_M))]
    if hide_individuals:
        hidden_MI = score_MI.copy()
        hidden_MI[np.arange(len(own_M)), own_M] = -np.inf
        asked += [_question(found, gallery, m, hidden_MI[m], -1) for m in range(len(own_M))]
    asked = [one for one in asked if one.best_score is not None]
    notes = [*found.notes, *(found.judged_by + fit.note for fit in found.calibrations if fit.note)]
    if len(found.names) > MOST_DISCOVERED:
        notes.append(f"discovery_ari is of the first {MOST_DISCOVERED:,} questions")
    if not any(one.is_known for one in asked):
        notes.append(
            "no question has another image of its individual in the gallery, of another encounter "
            "and comparable, so how well known ones are named cannot be said"
        )
    elif len({one.individual.removesuffix(HIDDEN) for one in asked}) == 1:
        notes.append("all questions are about one individual: the intervals say nothing")
    by_score = rank_queries(
        np.where(np.isfinite(score_MI), score_MI, -1e9),
        found.identities,
        gallery.individuals,
        ~np.isfinite(score_MI),
    )
    return GalleryEvaluation(
        questions=tuple(asked),
        ranking=ranking_metrics(by_score, found.identities),
        images=_image_ranking(found, gallery),
        open_set=open_set_accuracy(
            [one.answer or None for one in asked],
            [one.individual for one in asked],
            {one.individual for one in asked if one.is_known},
        ),
        roc=_roc(asked),
        discovery=_rand_index(found),
        hard_pairs=_hard_pairs(found, gallery, score_MI, own_M),
        rate=found.rate,
        notes=tuple(dict.fromkeys(notes)),
    )


def _question(
    found: LabelledQuestions, gallery: GalleryImages, m: int, score_I: NDArray[np.float64], own: int
) -> EvaluatedQuestion:
    """What a question was answered, and what would have been right.

    Args:
        own: the number of the individual; -1 where the gallery does not hold it, or it is hidden.
    """
    calibration = found.calibrations[m]
    probability_I, new_probability = calibration.probabilities(score_I)
    is_known = own >= 0 and bool(np.isfinite(score_I[own]))
    best = int(score_I.argmax())
    best_score = float(score_I[best]) if np.isfinite(score_I[best]) else None
    threshold = calibration.threshold_at(found.rate)
    is_new = best_score is None or (threshold is not None and threshold.is_new(best_score))
    in_gallery = found.identities[m] in gallery.individuals
    return EvaluatedQuestion(
        name=found.names[m],
        individual=found.identities[m] if is_known or not in_gallery else
        f"{found.identities[m]}{HIDDEN}",
        is_known=is_known,
        num_images=len(found.ranked[m].rows),
        answer="" if is_new else gallery.individuals[best],
        nearest=gallery.individuals[best] if best_score is not None else "",
        rank=int((score_I > score_I[own]).sum()) + 1 if is_known else 0,
        probability=float(probability_I[own]) if is_known else new_probability,
        new_probability=new_probability,
        best_score=best_score,
    )  # fmt: skip


def _image_ranking(found: LabelledQuestions, gallery: GalleryImages) -> RankingMetrics:
    """Every image ranks the gallery's images by the cosine alone."""
    rows = [row for one in found.ranked for row in one.rows]
    question = np.repeat(np.arange(len(found.ranked)), [len(one.rows) for one in found.ranked])
    attributes_Q = np.array([gallery.attribute_number(found.asked.images[row]) for row in rows])
    excluded_QR = np.stack([found.hidden[m] for m in question.tolist()])
    excluded_QR |= attributes_Q[:, None] != gallery.attributes_N
    identities = [found.identities[m] for m in question.tolist()]
    cosines_QR = gallery.cosines_QN(found.asked.embeddings_ND[rows])
    names = [image.individual for image in gallery]
    return ranking_metrics(rank_queries(cosines_QR, identities, names, excluded_QR), identities)


def _roc(asked: Sequence[EvaluatedQuestion]) -> OpenSetRoc | None:
    """None where all questions are about known, or all about new individuals."""
    known_M = np.array([one.is_known for one in asked], bool)
    if known_M.all() or not known_M.any():
        return None
    return open_set_roc(
        np.array([one.best_score for one in asked], np.float64),
        np.array([one.rank == 1 for one in asked], bool),
        known_M,
        [one.individual for one in asked],
    )


def _rand_index(found: LabelledQuestions) -> Estimate:
    """Agreement of the individuals that are discovered among the questions with the true ones."""
    chosen = range(min(len(found.names), MOST_DISCOVERED))
    questions = {str(m): list(found.ranked[m].rows) for m in chosen}
    individuals = discover_individuals(
        found.asked, questions, found.calibrations[0], with_confidence=False
    )
    cluster = {name: n for n, one in enumerate(individuals) for name in one.questions}
    return adjusted_rand_index(
        [cluster[str(m)] for m in chosen], [found.identities[m] for m in chosen]
    )


def _hard_pairs(
    found: LabelledQuestions,
    gallery: GalleryImages,
    score_MI: NDArray[np.float64],
    own_M: NDArray[np.int64],
) -> tuple[HardPair, ...]:
    """The questions whose own individual scores least against the likeliest other."""
    every = np.arange(len(own_M))
    own_score_M = np.where(own_M >= 0, score_MI[every, own_M], -np.inf)
    other_MI = score_MI.copy()
    other_MI[every, own_M] = -np.inf
    other_score_M = other_MI.max(1)
    rows = np.flatnonzero(np.isfinite(own_score_M) & np.isfinite(other_score_M))
    margin = own_score_M[rows] - other_score_M[rows]
    order = np.argsort(margin, kind="stable")[:NUM_HARD_PAIRS]
    pairs = []
    for m, least in zip(rows[order].tolist(), margin[order].tolist(), strict=True):
        one, rule = found.ranked[m], found.calibrations[m].rule
        own, other = int(own_M[m]), int(other_MI[m].argmax())
        of_own, of_other = one.best_pair(own, rule), one.best_pair(other, rule)
        pairs.append(
            HardPair(
                name=found.names[m],
                individual=gallery.individuals[own],
                other=gallery.individuals[other],
                margin=least,
                asked=found.asked.images[of_own.asked].file,
                own_image=gallery.images[of_own.known].file,
                other_image=gallery.images[of_other.known].file,
            )
        )
    return tuple(pairs)
