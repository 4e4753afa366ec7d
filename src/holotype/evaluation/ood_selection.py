"""Choose the OOD score and its threshold for the "unknown" flag.

Images of unknown classes are simulated: each class in turn (or a block of classes, where there are
many) is held out, a head is fitted without it, and each score is measured by its ROC AUC between
validation images of the held-out and of the other classes. Energy is chosen if its mean AUC is
higher by more than a standard error over the classes, else the nearest neighbours: held-out classes
are near-OOD, and far-OOD images can have the highest energy of all (benchmarks/unknown.py).

The threshold comes from validation images of all classes: the highest that rejects at most the
given share of images of known classes, with a confidence of 95 %. The share of unknown images that
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
from holotype.training.config.stage_config import LinearStage
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.training_data import TrainingData

CONFIDENCE = 0.95  # of the false rejection rate
MAX_BLOCKS = 10  # of classes that are held out in turn
MAX_TRAINING = 5_000  # images that the heads without a class are fitted on
HEAD_STAGE = LinearStage(method="logistic_regression", Cs=(0.01,))  # of these heads
WEAK_AUROC = 0.65  # below, the report warns
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
    scores_V: NDArray[np.float64] | Sequence[float], false_rejection_rate: float
) -> float | None:
    """The highest threshold that rejects at most this share of images of known classes.

    It is the j-th smallest score of known images. The share of all known images below it has at
    most a beta distribution (j, V - j + 1); the largest j is taken for which that share is within
    `false_rejection_rate` with a probability of 95 % (a one-sided tolerance limit: Wilks 1941).

    Returns:
        None where there are fewer than `min_images_for_threshold` scores.
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
    """The number of validation images at which the smallest score can be the threshold."""
    return int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-false_rejection_rate)))
