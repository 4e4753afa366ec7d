"""What a gallery says of its own images: the pair rule, probabilities, and who counts as new.

Images are asked about with their own encounter hidden (or, where encounters are not known, only
themselves), once so and once with the whole individual hidden, as if it were new. On these
questions three things are fitted:

1. the pair rule, on the best pairs with the own individual and with the likeliest others;
2. the probabilities: that of individual i is exp(a·sᵢ) / (I·exp(b) + Σⱼ exp(a·sⱼ)) with its score
   sᵢ, and I·exp(b) stands for somebody new; a and b by maximum likelihood, with both kinds of
   questions weighed alike: an even chance of somebody new is assumed before the images are seen;
3. the scores of known individuals, for the threshold below which somebody is called new.

With fewer than 10 individuals that can be asked about so, nothing is fitted: the rule is assumed
(`assumed_pair_rule`), a = 1 and b = 0, and nobody is called new.

Source:
    McFadden 1974, "Conditional logit analysis of qualitative choice behavior" (for 2).

Shape suffixes: M questions, I individuals, N images of the gallery, F measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.identification.matching.pair_rule import (
    MEASURES,
    PairRule,
    assumed_pair_rule,
    fit_pair_rule,
)
from holotype.identification.matching.rank_individuals import RankedQuestion, rank_individuals
from holotype.identification.new_individual import NewIndividualThreshold, threshold_for_new
from holotype.identification.storage.gallery_images import GalleryImages, ImageBlock

FEWEST_INDIVIDUALS = 10  # with images of two encounters, for anything to be fitted
MOST_QUESTIONS = 300  # of a large gallery, taken evenly over its individuals
DEFAULT_RATE = 0.05  # of known individuals that are called new
_PRIOR_WEIGHT = 1e-2  # of a = 1, b = 0, against the mean likelihood of the questions
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """What was fitted on a gallery, or assumed.

    Attributes:
        state: of the gallery that it was fitted on.
        num_images: that this gallery had.
        rule: for pairs of images.
        evidence_weight: a.
        new_offset: b.
        known_scores: the best score of questions about known individuals; empty if not fitted.
        known_individuals: their names.
        threshold: for new individuals at `DEFAULT_RATE`; None where there are too few to keep it.
    """

    state: str
    num_images: int
    rule: PairRule
    evidence_weight: float = 1.0
    new_offset: float = 0.0
    known_scores: tuple[float, ...] = ()
    known_individuals: tuple[str, ...] = ()
    threshold: NewIndividualThreshold | None = None

    def threshold_at(self, rate: float) -> NewIndividualThreshold | None:
        """The threshold that mistakes known individuals for new ones at most at a rate.

        Raises:
            UsageError: too few known individuals can be asked about for this rate.
        """
        if not self.known_scores:
            return None
        if rate == DEFAULT_RATE:
            return self.threshold
        return threshold_for_new(self.known_scores, self.known_individuals, rate)

    @property
    def note(self) -> str:
        """What a reader of probabilities has to know."""
        if self.rule.is_fitted:
            return ""
        return (
            f"fewer than {FEWEST_INDIVIDUALS} individuals have comparable images of two "
            "encounters: probabilities are assumed from the cosine and not fitted, and nobody is "
            "called new"
        )

    def probabilities(self, score_I: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Of every individual, and of somebody new; they sum to 1.

        Args:
            score_I: -inf of individuals that could not be compared, which get 0.
        """
        compared_I = np.isfinite(score_I)
        exponents = np.append(
            np.where(compared_I, self.evidence_weight * score_I, -np.inf),
            self.new_offset + np.log(max(1, int(compared_I.sum()))),
        )
        shares = np.exp(exponents - exponents.max())
        shares /= shares.sum()
        return shares[:-1], float(shares[-1])

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "rule": self.rule.to_json(),
            "known_scores": list(self.known_scores),
            "known_individuals": list(self.known_individuals),
            "threshold": self.threshold and self.threshold.to_json(),
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Calibration":
        threshold = found["threshold"]
        return cls(
            state=str(found["state"]),
            num_images=int(found["num_images"]),
            rule=PairRule.from_json(found["rule"]),
            evidence_weight=float(found["evidence_weight"]),
            new_offset=float(found["new_offset"]),
            known_scores=tuple(map(float, found["known_scores"])),
            known_individuals=tuple(map(str, found["known_individuals"])),
            threshold=threshold and NewIndividualThreshold.from_json(threshold),
        )


@dataclass(frozen=True, eq=False)
class HeldOutQuestions:
    """Encounters of a gallery, to be asked about with their own images hidden.

    Attributes:
        rows: of each the images, all of one individual and one encounter.
        individual_M: the number of the individual of each.
    """

    rows: tuple[tuple[int, ...], ...]
    individual_M: NDArray[np.int64]

    @classmethod
    def of(cls, gallery: GalleryImages, most: int | None = None) -> "HeldOutQuestions":
        """All of them, or so many: one of each individual in turn, the oldest first."""
        encounters: dict[tuple[int, str], list[int]] = {}
        for row, (individual, encounter) in enumerate(
            zip(gallery.individual_N.tolist(), gallery.encounter_N.tolist(), strict=True)
        ):
            encounters.setdefault((individual, encounter), []).append(row)
        turn: dict[int, int] = {}
        in_turn = []
        for (individual, _), rows in encounters.items():
            turn[individual] = turn.get(individual, -1) + 1
            in_turn.append((turn[individual], individual, tuple(rows)))
        # Individuals of one encounter tell least: with a limit they come last.
        in_turn.sort(key=lambda one: (turn[one[1]] == 0, one[0], one[2][0]))
        chosen = in_turn[:most]
        return cls(
            tuple(rows for _, _, rows in chosen), np.array([i for _, i, _ in chosen], np.int64)
        )

    def asked(self, gallery: GalleryImages) -> tuple[ImageBlock, list[range]]:
        """Their images, and the rows of each question in them."""
        rows = np.array([row for question in self.rows for row in question], np.int64)
        images = tuple(gallery.images[row] for row in rows)
        starts = np.cumsum([0, *map(len, self.rows)]).tolist()
        block = ImageBlock(images, gallery.embeddings(rows), gallery.thumbnails(rows))
        return block, [range(*ends) for ends in pairwise(starts)]

    def hidden_N(self, gallery: GalleryImages) -> list[NDArray[np.bool_]]:
        """For every question its own encounter, and copies of its files."""
        hidden = []
        for rows, individual in zip(self.rows, self.individual_M, strict=True):
            is_encounter_N = gallery.encounter_N == gallery.encounter_N[rows[0]]
            is_copy_N = np.isin(gallery.sha256_N, gallery.sha256_N[list(rows)])
            hidden.append(is_copy_N | (is_encounter_N & (gallery.individual_N == individual)))
        return hidden


def calibrate(gallery: GalleryImages) -> Calibration:
    """Fit all on a gallery, or assume where it has too few individuals."""
    held_out = HeldOutQuestions.of(gallery, MOST_QUESTIONS)
    asked, questions = held_out.asked(gallery)
    hidden = held_out.hidden_N(gallery)
    ranked = list(rank_individuals(asked, questions, gallery, hidden_N=hidden))
    return fit_calibration(gallery, ranked, held_out.individual_M)


def fit_calibration(
    gallery: GalleryImages, ranked: Sequence[RankedQuestion], individual_M: NDArray[np.int64]
) -> Calibration:
    """Fit all on questions whose answer is known, each of their images taken alone.

    One image says less than several, so for encounters of several images the rate of mistakes is
    below the stated one, and probabilities are cautious.

    Args:
        ranked: M questions against the gallery, their own images hidden.
        individual_M: who each is about, by number.
    """
    individual_M = np.repeat(individual_M, [len(one.rows) for one in ranked])
    ranked = [one.alone(place) for one in ranked for place in range(len(one.rows))]
    is_known_M = np.array(
        [bool(one.compared_I[own]) for one, own in zip(ranked, individual_M, strict=True)], bool
    )
    measures_NF, same_N = _registered_pairs(ranked, individual_M)
    num_known = len(set(individual_M[is_known_M].tolist()))
    if num_known < FEWEST_INDIVIDUALS or not same_N.any() or same_N.all():
        rule = assumed_pair_rule(measures_NF[~same_N, 0])
        return Calibration(gallery.state, len(gallery), rule)
    rule = fit_pair_rule(measures_NF, same_N)
    score_MI = np.stack([one.scores(rule) for one in ranked])
    weight, offset = _fit_probabilities(score_MI, individual_M, is_known_M)
    known_scores = tuple(score_MI[is_known_M].max(1).tolist())
    known = tuple(gallery.individuals[number] for number in individual_M[is_known_M])
    threshold = None
    if len(known_scores) >= 1 / DEFAULT_RATE - 1:
        threshold = threshold_for_new(known_scores, known, DEFAULT_RATE)
    return Calibration(
        gallery.state, len(gallery), rule, weight, offset, known_scores, known, threshold
    )


def _registered_pairs(
    ranked: Sequence[RankedQuestion], individual_M: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The measures (N, F) of all pairs that were registered, and which are of one individual."""
    measures, same = [np.empty((0, len(MEASURES)))], [np.empty(0, bool)]
    for one, own in zip(ranked, individual_M, strict=True):
        for pair in one.pairs:
            registered = np.flatnonzero(np.isfinite(pair.measures_IF).all(1))
            measures.append(pair.measures_IF[registered])
            same.append(registered == own)
    return np.concatenate(measures), np.concatenate(same)


def _fit_probabilities(
    score_MI: NDArray[np.float64], individual_M: NDArray[np.int64], is_known_M: NDArray[np.bool_]
) -> tuple[float, float]:
    """Weight a and offset b, by Newton's method on a concave likelihood.

    A question is asked twice: as it is, where the own individual can be compared, and with the own
    individual hidden, where somebody new is right.
    """
    hidden_MI = score_MI.copy()
    hidden_MI[np.arange(len(score_MI)), individual_M] = -np.inf
    scores = np.concatenate([score_MI[is_known_M], hidden_MI])
    own = np.concatenate([individual_M[is_known_M], np.full(len(hidden_MI), -1)])
    is_usable = np.isfinite(scores).any(1)
    scores, own = scores[is_usable], own[is_usable]
    is_new = own < 0
    weights = np.where(is_new, 0.5 / max(1, is_new.sum()), 0.5 / max(1, (~is_new).sum()))
    finite = np.where(np.isfinite(scores), scores, 0)
    log_count = np.log(np.isfinite(scores).sum(1))
    right = np.where(is_new, 0.0, finite[np.arange(len(own)), np.maximum(own, 0)])
    found = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        exponents = np.column_stack(
            [np.where(np.isfinite(scores), found[0] * scores, -np.inf), found[1] + log_count]
        )
        shares = np.exp(exponents - exponents.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        known, new = shares[:, :-1], shares[:, -1]
        mean = (known * finite).sum(1)
        variance = (known * finite**2).sum(1) - mean**2
        slope = np.array([weights @ (right - mean), weights @ (is_new - new)])
        slope -= _PRIOR_WEIGHT * (found - [1.0, 0.0])
        cross = weights @ (mean * new)
        curvature = np.array(
            [[weights @ variance, -cross], [-cross, weights @ (new * (1 - new))]]
        ) + _PRIOR_WEIGHT * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        found = found + step * min(1.0, 1 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return max(0.0, float(found[0])), float(found[1])
