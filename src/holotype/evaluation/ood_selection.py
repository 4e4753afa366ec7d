"""Choose the OOD score and its threshold for the "unknown" flag.

Images of unknown classes are simulated: each class in turn (or a block of classes, where there are
many) is held out, a head is fitted without it, and each score is measured by its ROC AUC between
validation images of the held-out and of the other classes. Energy is chosen if its mean AUC is
higher by more than a standard error over the classes, else the nearest neighbours: held-out classes
are near-OOD, and far-OOD images can have the highest energy of all (benchmarks/unknown.py).

The threshold comes from validation images of all classes: the highest that rejects at most the
given share of images of known classes, with a confidence of 95 %; images of one group are not
counted as independent. The share of unknown images that
it rejects depends on them and cannot be guaranteed.

Shape suffixes: N training images, V validation images, C classes, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.manifest import OODScore
from holotype.bundle.ood_scores import NEIGHBOURS, knn_similarity_N, negative_energy_N
from holotype.bundle.references import make_references
from holotype.evaluation.intervals import SamplingUnits, design_effect
from holotype.training.config.stage_config import LinearStage
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.training_data import TrainingData

CONFIDENCE = 0.95  # of the false rejection rate
MAX_BLOCKS = 10  # of classes that are held out in turn
MAX_TRAINING = 5_000  # images that the heads without a class are fitted on
HEAD_STAGE = LinearStage(method="logistic_regression", Cs=(0.01,))  # of these heads
WEAK_AUROC = 0.65  # below, the report warns
MAX_STEPS = 200  # numbers of rejected images that are tried where images have groups
MIN_ENERGY_STD = 1e-3  # less means that the logits are logarithms of probabilities


@dataclass(frozen=True)
class OODScoreChoice:
    """The chosen OOD score.

    Attributes:
        score: the one to use.
        auroc: of each score the mean over the held-out blocks of classes.
        num_held_out: the number of blocks.
        reason: why none was held out; "" otherwise.
    """

    score: OODScore
    auroc: dict[OODScore, float]
    num_held_out: int
    reason: str = ""

    def note(self) -> str:
        """One sentence for the report."""
        names = {"energy": "energy of the logits", "neighbours": "nearest training images"}
        chosen = f"Unknown images are detected by the {names[self.score]}"
        if not self.auroc:
            return f"{chosen}: {self.reason}."
        areas = ", ".join(f"{names[score]} {value:.3f}" for score, value in self.auroc.items())
        weak = max(self.auroc.values()) < WEAK_AUROC
        return (
            f"{chosen}. Mean ROC AUC over {self.num_held_out} held-out "
            f"{'class or block' if self.num_held_out == 1 else 'classes or blocks'}: {areas}"
            f"{'; little better than chance (0.5), so few will be detected' if weak else ''}."
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
    """The score that best separates held-out classes from the others.

    Args:
        training_ND, validation_VD: embeddings of the images without augmentation.
        energies_V: of the shipped head; constant where its logits are logarithms of probabilities
            (forests, support vector machines), and then of no use.
        seed: of the sample of training images and of the blocks of classes.
    """
    if num_classes < 3:
        why = "with two classes, none can be held out"
        return OODScoreChoice("neighbours", {}, 0, why)
    if float(np.std(energies_V)) < MIN_ENERGY_STD:
        why = "the logits are logarithms of probabilities, whose energy is constant"
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
        scores = _scores_without(training_ND[fit], training_targets_N[fit], validation_VD, seed)
        for name, scores_V in scores.items():
            found[name].append(auroc(scores_V[is_known_V], scores_V[~is_known_V]))
    if not found["energy"]:
        return OODScoreChoice("neighbours", {}, 0, "validation has no class that can be held out")
    means = {name: float(np.mean(values)) for name, values in found.items()}
    better = np.subtract(found["energy"], found["neighbours"])
    error = float(np.std(better, ddof=1) / np.sqrt(len(better))) if len(better) > 1 else np.inf
    best: OODScore = "energy" if better.mean() > error else "neighbours"
    return OODScoreChoice(best, means, len(better))


def blocks_of(num_classes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The classes one by one; of more than ten classes ten random blocks."""
    if num_classes <= MAX_BLOCKS:
        return [np.array([c], np.int64) for c in range(num_classes)]
    return list(np.array_split(rng.permutation(num_classes), MAX_BLOCKS))


def _scores_without(
    training_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    validation_VD: NDArray[np.float32],
    seed: int,
) -> dict[OODScore, NDArray[np.float64]]:
    """Both scores of the validation images, from these training images alone."""
    # Renumbered, since classes without images would get a logit.
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
    """The share of pairs in which the known image has the higher score; ties count half."""
    from sklearn.metrics import roc_auc_score

    is_known = np.repeat([1, 0], [len(known), len(unknown)])
    return float(roc_auc_score(is_known, np.concatenate([known, unknown])))


def fit_ood_threshold(
    scores_V: NDArray[np.float64] | Sequence[float],
    false_rejection_rate: float,
    units: SamplingUnits | None = None,
) -> float | None:
    """The highest threshold that rejects at most this share of images of known classes.

    The share of all known images below the threshold that rejects k of V independent ones has at
    most a beta distribution (k + 1, V - k). The largest k is taken for which that share is within
    `false_rejection_rate` with a probability of 95 %. For groups V is the number of independent
    images that they are worth (`independent_images`), and k the same share of it.

    Args:
        units: the independent units of the images; the images unless given.

    Returns:
        None where the images are worth fewer than `min_images_for_threshold`.

    Source:
        Wilks 1941 (one-sided tolerance limits); Korn and Graubard 1998, "Confidence Intervals for
        Proportions with Small Expected Number of Positive Counts" (on the effective number).
    """
    from scipy.special import betainc

    scores = np.asarray(scores_V, np.float64)
    V, order = len(scores), np.argsort(scores, kind="stable")
    units = units or SamplingUnits.images(V)
    rejected = np.arange(V)
    if units.grouped:
        rejected = np.unique(np.linspace(0, false_rejection_rate * V, MAX_STEPS).astype(int))
    worth = np.array(
        [independent_images(units, order[:k]) if units.grouped else V for k in rejected]
    )
    below = rejected / V * worth
    holds = betainc(below + 1, worth - below, false_rejection_rate) >= CONFIDENCE
    num_holding = int(np.logical_and.accumulate(holds).sum())
    return float(scores[order[rejected[num_holding - 1]]]) if num_holding else None


def independent_images(units: SamplingUnits, rejected: Sequence[int] | NDArray[np.int64]) -> float:
    """As how many independent images those of `units` count when these of them are rejected.

    Args:
        rejected: positions of images; of none, the correlation within groups is an assumed one.
    """
    from scipy.special import ndtri, stdtrit

    V = len(units.unit_N)
    if not units.grouped:
        return V
    if units.count < 2:
        return 0
    is_rejected_V = np.zeros(V)
    is_rejected_V[rejected] = 1
    effect = design_effect(is_rejected_V, np.ones(V), units.unit_N).shrunken
    return float(V / effect * (ndtri(CONFIDENCE) / stdtrit(units.count - 1, CONFIDENCE)) ** 2)


def min_images_for_threshold(false_rejection_rate: float) -> float:
    """As many independent images let the smallest score be the threshold; of whole ones the next.

    Groups are worth a broken number (`independent_images`), which is held against this one.
    """
    return float(np.log(1 - CONFIDENCE) / np.log1p(-false_rejection_rate))
