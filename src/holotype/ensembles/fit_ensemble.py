"""Fit an ensemble on validation or out-of-fold predictions, and predict them held out.

Weights that are fitted on the validation images are optimistic there, so the predictions of the
ensemble for these images are held out a second time: the weights and the temperature of each fold
come from the other folds.

Shape suffixes: M members, N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.aligned_predictions import AlignedPredictions
from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import find_atomic_groups
from holotype.dataset.splitting.splitter import folds
from holotype.ensembles.ensemble_weights import (
    EnsembleMethod,
    FittedWeights,
    Floats,
    choose_method,
    combine,
    fit_weights,
)
from holotype.evaluation import metrics
from holotype.evaluation.calibration import MIN_IMAGES, fit_temperature
from holotype.predictions import Predictions, softmax

NUM_FOLDS = 5
MIN_MEMBER_WEIGHT = 0.01  # a member with less in every class is dropped
_SMALLEST = 1e-30


@dataclass(frozen=True, eq=False)
class MemberPredictions:
    """Predictions of the members for images that none of them was trained on.

    Attributes:
        aligned: of each member, after its temperature.
        fold_N: which images are held out together.
    """

    aligned: AlignedPredictions
    fold_N: NDArray[np.int64]

    @property
    def probabilities_MNC(self) -> Floats:
        return np.stack([each.probabilities_NC for each in self.aligned.predictions])

    @property
    def losses_M(self) -> list[float]:
        """The log loss of every member."""
        return [float(metrics.log_loss(each)) for each in self.aligned.predictions]

    @property
    def best(self) -> int:
        """The number of the member with the lowest log loss."""
        return int(np.argmin(self.losses_M))


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """The fitted weights, and the held-out predictions of the ensemble.

    Attributes:
        method: by which the weights were fitted.
        members: the numbers of the members with a weight, ascending.
        weights_CM: of these members for each class; rows sum to 1. None where all are equal.
        losses: log loss of each method on held-out folds, where `auto` tried them.
        held_out: predictions of the ensemble, each fold with weights and a temperature from the
            others; logits are the logarithms of the mean probabilities, before the temperature.
    """

    method: EnsembleMethod
    members: tuple[int, ...]
    weights_CM: Floats | None
    losses: dict[EnsembleMethod, float]
    held_out: Predictions


def assign_held_out_folds(
    index: Index, ids: Sequence[str], keep_together: Sequence[frozenset[str]]
) -> NDArray[np.int64]:
    """The fold of each image, stratified by class; groups and copies share a fold.

    Args:
        index: contains the images with these ids; its split is ignored.
        keep_together: sets of paths of copies.
    """
    table = index.table[index.table["path"].isin(set(ids))].reset_index(drop=True)
    table["split"] = ""
    num_atomic_groups = len(find_atomic_groups(table, keep_together, seed=0))
    if num_atomic_groups < 2:
        return np.zeros(len(ids), np.int64)
    assigned = folds(
        replace(index, table=table),
        min(NUM_FOLDS, num_atomic_groups),
        seed=0,
        keep_together=keep_together,
    ).table
    fold_of = dict(zip(assigned["path"], assigned["fold"], strict=True))
    return np.array([fold_of[name] for name in ids], np.int64)


def fit(member_predictions: MemberPredictions, method: EnsembleMethod | None) -> FittedEnsemble:
    """Fit weights by a method; None: by the method with the lowest log loss on held-out images."""
    aligned, probabilities_MNC = member_predictions.aligned, member_predictions.probabilities_MNC
    targets_N, weights_N = aligned.first.targets_N, aligned.weights_N
    unit_N = aligned.units.unit_N
    if method is None and len(targets_N) < MIN_IMAGES:
        method = "average"
    if method is None:
        choice = choose_method(
            probabilities_MNC, targets_N, weights_N, member_predictions.fold_N, unit_N=unit_N
        )
    else:
        weights_MC = fit_weights(method, probabilities_MNC, targets_N, weights_N, unit_N)
        choice = FittedWeights(method, weights_MC, {})
    members, weights_CM = _drop_unweighted_members(choice)
    return FittedEnsemble(
        method=choice.method,
        members=members,
        weights_CM=weights_CM,
        losses=choice.losses,
        held_out=_held_out(member_predictions, choice.method),
    )


def _drop_unweighted_members(choice: FittedWeights) -> tuple[tuple[int, ...], Floats | None]:
    """The members with a weight, and their weights (C, M); None where all are equal."""
    if choice.method == "average":
        return tuple(range(len(choice.weights_MC))), None
    members = np.flatnonzero(choice.weights_MC.max(axis=1) >= MIN_MEMBER_WEIGHT)
    weights_CM = choice.weights_MC[members].T
    return tuple(members.tolist()), weights_CM / weights_CM.sum(axis=1, keepdims=True)


def _held_out(member_predictions: MemberPredictions, method: EnsembleMethod) -> Predictions:
    """Predictions of each fold with weights and a temperature from the other folds."""
    aligned, probabilities_MNC = member_predictions.aligned, member_predictions.probabilities_MNC
    images, unit_N = aligned.first, aligned.units.unit_N
    logits_NC = np.empty_like(images.logits_NC)
    calibrated_NC = np.empty_like(images.probabilities_NC)
    for fold in np.unique(member_predictions.fold_N):
        held = member_predictions.fold_N == fold
        rest = held if held.all() else ~held
        weights_MC = fit_weights(
            method, probabilities_MNC[:, rest], images.targets_N[rest],
            images.weights_N[rest], unit_N[rest],
        )  # fmt: skip
        all_NC = _logarithm(combine(probabilities_MNC, weights_MC))
        others = replace(images, logits_NC=all_NC).select(rest)
        logits_NC[held] = all_NC[held]
        calibrated_NC[held] = softmax(all_NC[held], fit_temperature(others))
    return replace(images, logits_NC=logits_NC, probabilities_NC=calibrated_NC)


def _logarithm(probabilities_NC: Floats) -> NDArray[np.float32]:
    return np.asarray(np.log(np.maximum(probabilities_NC, _SMALLEST)), np.float32)
