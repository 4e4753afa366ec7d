"""When an image is of no known class: which score tells best, and below which value.

Nobody has images of what is to come, so classes of the training data play the unknown: each in
turn (or a block of them, where there are many) is left out, and what is learnt without it is asked
how well it tells validation images of that class from the others. Energy is taken if it does so
better on average by more than a standard error over the classes, else the neighbours: a class left
out is a near stranger, and images unlike all training ones can have the highest energy of all
(benchmarks/unknown.py).

The threshold comes from validation images of all classes: as high as can be while no more than
the promised share of images of known classes is turned away, with a confidence of 95 %. What
share of unknown images that catches depends on how unlike they are, and cannot be promised.

Shape suffixes: N training images, V validation images, C classes, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.manifest import OODScore
from holotype.bundle.ood_scores import NEIGHBOURS, knn_similarity_N, negative_energy_N
from holotype.bundle.references import make_references
from holotype.training.config.stage_config import LinearStage
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.training_data import TrainingData

CONFIDENCE = 0.95  # that the promised rate holds
MAX_BLOCKS = 10  # of classes that are left out in turn
MAX_TRAINING = 5_000  # images that the heads for this question are fitted on
HEAD_STAGE = LinearStage(method="logistic_regression", Cs=(0.01,))  # how those heads are fitted
WEAK_AUROC = 0.65  # an area under the ROC curve that promises little
MIN_ENERGY_STD = 1e-3  # a head whose energies spread less gives logarithms of probabilities


@dataclass(frozen=True)
class OODScoreChoice:
    """Which score tells unknown images from known ones.

    Attributes:
        score: the one to use.
        auroc: of each score that was tried, the mean over the classes that were left out.
        num_held_out: how many blocks of classes that was.
        reason: why nothing was tried; "" where something was.
    """

    score: OODScore
    auroc: dict[OODScore, float]
    num_held_out: int
    reason: str = ""

    def note(self) -> str:
        """One sentence for the report."""
        names = {"energy": "energy of the logits", "neighbours": "nearest training images"}
        if not self.auroc:
            return f"Unknown images are told by the {names[self.score]}: {self.reason}."
        said = ", ".join(f"{names[score]} {value:.3f}" for score, value in self.auroc.items())
        beside = ""
        if max(self.auroc.values()) < WEAK_AUROC:
            beside = ", which is little better than chance (0.5): few unknown images will be told"
        return (
            f"Unknown images are told by the {names[self.score]}. Where {self.num_held_out} "
            f"{'class was' if self.num_held_out == 1 else 'classes or blocks of them were'} "
            "left out "
            f"in turn, the area under the ROC curve was: {said}{beside}."
        )


def choose_ood_score(
    training_ND: NDArray[np.float32],
    training_targets_N: NDArray[np.int64],
    validation_VD: NDArray[np.float32],
    validation_targets_V: NDArray[np.int64],
    *,
    num_classes: int,
    energies_V: NDArray[np.float64],
    seed: int,
) -> OODScoreChoice:
    """The score that best tells classes that were left out of the training images.

    Args:
        training_ND, validation_VD: embeddings of the plain images.
        energies_V: of the shipped head, to see whether they say anything: a head that gives
            logarithms of probabilities (forests, support vector machines) has the same everywhere.
        seed: of the images that are drawn where there are many, and of the blocks of classes.
    """
    if num_classes < 3:
        why = "with two classes, leaving one out leaves no two to tell apart, so no energy to try"
        return OODScoreChoice("neighbours", {}, 0, why)
    if float(np.std(energies_V)) < MIN_ENERGY_STD:
        why = "the head gives probabilities, whose energy is the same for every image"
        return OODScoreChoice("neighbours", {}, 0, why)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(training_ND))[:MAX_TRAINING]
    training_ND, training_targets_N = training_ND[rows], training_targets_N[rows]
    found: dict[OODScore, list[float]] = {"energy": [], "neighbours": []}
    for block in blocks_of(num_classes, rng):
        fit = ~np.isin(training_targets_N, block)
        is_known_V = ~np.isin(validation_targets_V, block)
        if len(np.unique(training_targets_N[fit])) < 2 or is_known_V.all() or not is_known_V.any():
            continue
        scores = _scores_without(
            training_ND[fit], training_targets_N[fit], validation_VD, num_classes, seed
        )
        for name, scores_V in scores.items():
            found[name].append(auroc(scores_V[is_known_V], scores_V[~is_known_V]))
    if not found["energy"]:
        return OODScoreChoice("neighbours", {}, 0, "validation has no class that could be left out")
    means = {name: float(np.mean(values)) for name, values in found.items()}
    better = np.subtract(found["energy"], found["neighbours"])
    error = float(np.std(better, ddof=1) / np.sqrt(len(better))) if len(better) > 1 else np.inf
    best: OODScore = "energy" if better.mean() > error else "neighbours"
    return OODScoreChoice(best, means, len(better))


def blocks_of(num_classes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The classes one by one; in at most ten blocks drawn at random where there are more."""
    if num_classes <= MAX_BLOCKS:
        return [np.array([c], np.int64) for c in range(num_classes)]
    return list(np.array_split(rng.permutation(num_classes), MAX_BLOCKS))


def _scores_without(
    training_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    validation_VD: NDArray[np.float32],
    num_classes: int,
    seed: int,
) -> dict[OODScore, NDArray[np.float64]]:
    """Both scores of the validation images, by what was learnt from these training images."""
    # Classes without an image would get a logit of their own: number those that are left.
    present, numbers_N = np.unique(targets_N, return_inverse=True)
    data = TrainingData(
        training_ND, numbers_N.astype(np.int64), np.ones(len(targets_N)), [""] * len(targets_N),
        num_classes=len(present),
    )  # fmt: skip
    head = fit_linear_head(data, HEAD_STAGE, seed)
    references = make_references(training_ND, targets_N, [""] * len(targets_N))
    return {
        "energy": negative_energy_N(validation_VD @ head.weight_CD.T + head.bias_C),
        "neighbours": knn_similarity_N(references, validation_VD, NEIGHBOURS),
    }


def auroc(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    """How often a known image has a higher score than an unknown one; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([known, unknown]))
    above = ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2
    return float(above / (len(known) * len(unknown)))


def fit_ood_threshold(
    scores_V: NDArray[np.float64] | Sequence[float], false_rejection_rate: float
) -> float | None:
    """The highest threshold below which known images fall no more often than promised.

    It is the j-th smallest score of known images. The share of all known images below it has
    a beta distribution (j, V - j + 1) or lies lower, so the largest j is taken for which that share
    stays within `false_rejection_rate` with a probability of 95 % (a one-sided tolerance limit:
    Wilks 1941).

    Returns:
        None where there are too few scores to promise anything; see `min_images_for_threshold`.
    """
    from scipy.stats import binom

    scores = np.sort(np.asarray(scores_V, np.float64))
    V = len(scores)
    places = np.arange(1, V + 1)
    holds = binom.sf(places - 1, V, false_rejection_rate) >= CONFIDENCE
    if not holds.any():
        return None
    return float(scores[int(places[holds].max()) - 1])


def min_images_for_threshold(false_rejection_rate: float) -> int:
    """How many validation images a promised rate needs: the smallest of them is the threshold."""
    return int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-false_rejection_rate)))
