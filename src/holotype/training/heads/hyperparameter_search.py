"""Hyperparameters chosen, and probabilities calibrated, by images that a fold holds out.

Both look at the same scores, so no image is kept back from the fit that ships: Platt 1999,
"Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood
Methods".

Shape suffixes: N images, D embedding, S classes seen in training, C all classes.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.sklearn_onnx import ABSENT_CLASS_LOGIT, PlattCalibration
from holotype.bundle.onnx_sessions import available_cores
from holotype.predictions import softmax
from holotype.training.heads.logistic_regression import stratified_folds

TUNING_IMAGES = 3000  # settings are chosen on no more; some fits take the square of the time
SLOPES = (0.05, 50.0)  # of the calibration; even the least keeps the order of the scores

HyperparameterValue = float | int | None
Hyperparameters = Mapping[str, HyperparameterValue]
HyperparameterKey = tuple[HyperparameterValue, ...]  # the values of settings, in their order
FitFunction = Callable[[Hyperparameters], Any]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Images to learn from; weights have mean 1, targets are numbers among all classes."""

    features_ND: NDArray[np.float32]
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float64]

    def rows(self, rows: NDArray[np.int64]) -> "TrainingData":
        return TrainingData(self.features_ND[rows], self.targets_N[rows], self.weights_N[rows])

    @property
    def seen(self) -> tuple[int, ...]:
        return tuple(int(c) for c in np.unique(self.targets_N))


class EstimatorFamily(Protocol):
    """A kind of classifier with settings to choose."""

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def param_grid(self) -> Mapping[str, Sequence[HyperparameterValue]]:
        """The candidates for every setting, in the order of their size."""

    def fit_function(self, data: TrainingData) -> FitFunction:
        """What fits to these images, whatever the settings; work they share is done once."""

    def scores(self, fitted: Any, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """One score for each seen class; more speaks for it."""

    def export(self, fitted: Any, embedding_size: int, calibration: PlattCalibration) -> bytes:
        """The graph from embedding to logits."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Folds of the images that choose, and the scores that they got.

    Attributes:
        data: the training images, or TUNING_IMAGES of them.
        folds: what learns from the images outside of a fold, and the rows of those inside.
        scores: for all settings that were asked for, (N, S) and the rows that it is about.
    """

    family: EstimatorFamily
    data: TrainingData
    folds: list[tuple[FitFunction, NDArray[np.int64]]]
    scores: dict[HyperparameterKey, tuple[NDArray[np.float64], NDArray[np.int64]]] = field(
        default_factory=dict
    )

    @classmethod
    def create(
        cls, family: EstimatorFamily, data: TrainingData, groups: Sequence[str], folds: int
    ) -> "CrossValidation":
        count = len(data.targets_N)
        drawn = np.random.default_rng(family.seed).permutation(count)[:TUNING_IMAGES]
        rows = np.sort(drawn)
        some = data.rows(rows)
        pairs = stratified_folds(some.targets_N, [groups[row] for row in rows], folds, family.seed)
        return cls(
            family, some, [(family.fit_function(some.rows(fit)), held) for fit, held in pairs]
        )

    def loss(self, settings: Hyperparameters) -> float | None:
        """Mean weighted log loss, calibrated; None where nothing can be held out."""
        scores_NS, targets_N, weights_N = self._held_out_scores(settings)
        if not len(targets_N):
            return None
        slope, bias_S = fit_platt_scaling(scores_NS, targets_N, weights_N)
        true_N = softmax(slope * scores_NS + bias_S)[np.arange(len(targets_N)), targets_N]
        return float(-(weights_N @ np.log(np.maximum(true_N, 1e-12))) / weights_N.sum())

    def calibration(
        self, settings: Hyperparameters, seen: tuple[int, ...], num_classes: int
    ) -> PlattCalibration:
        """Fitted on held-out scores; a class that they lack is neither raised nor lowered."""
        slope, bias_S = 1.0, np.zeros(len(seen))
        scores_NS, targets_N, weights_N = self._held_out_scores(settings)
        if len(targets_N):
            slope, fitted_S = fit_platt_scaling(scores_NS, targets_N, weights_N)
            bias_S[np.searchsorted(seen, self.data.seen)] = fitted_S
        return PlattCalibration(slope, bias_S, seen, num_classes)

    def _held_out_scores(
        self, settings: Hyperparameters
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Scores, targets among the seen classes, and weights, of the images held out."""
        key = tuple(settings.values())
        if key not in self.scores:
            with ThreadPoolExecutor(available_cores()) as pool:
                parts = list(pool.map(partial(self._fold_scores, settings), self.folds))
            none = np.empty((0, len(self.data.seen))), np.empty(0, np.int64)
            scores, rows = zip(none, *parts, strict=True)
            self.scores[key] = np.concatenate(scores), np.concatenate(rows)
        scores_NS, rows_N = self.scores[key]
        targets_N = np.searchsorted(self.data.seen, self.data.targets_N[rows_N])
        return scores_NS, targets_N, self.data.weights_N[rows_N]

    def _fold_scores(
        self, settings: Hyperparameters, fold: tuple[FitFunction, NDArray[np.int64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, S) scores of the images in a fold, and their rows.

        A class that the other folds lack scores ABSENT_CLASS_LOGIT; its images cannot be judged.
        """
        fit_function, held = fold
        fitted = fit_function(settings)
        held = held[np.isin(self.data.targets_N[held], fitted.classes_)]
        scores_NS = np.full((len(held), len(self.data.seen)), ABSENT_CLASS_LOGIT)
        if len(held):
            columns = np.searchsorted(self.data.seen, fitted.classes_)
            scores_NS[:, columns] = self.family.scores(fitted, self.data.features_ND[held])
        return scores_NS, held


def coordinate_search(
    param_grid: Mapping[str, Sequence[HyperparameterValue]],
    loss_of: Callable[[Hyperparameters], float | None],
) -> tuple[dict[str, HyperparameterValue], dict[HyperparameterKey, float]]:
    """From the middle of every list, one step at a time, as long as the loss falls.

    Returns:
        The settings, and the losses of all that were tried; none where there is no loss.
    """
    chosen = {name: values[len(values) // 2] for name, values in param_grid.items()}
    losses: dict[HyperparameterKey, float] = {}

    def improves(settings: Hyperparameters, below: float) -> bool:
        key = tuple(settings.values())
        if key not in losses and (loss := loss_of(settings)) is not None:
            losses[key] = loss
        return losses.get(key, np.inf) < below

    improving = improves(chosen, np.inf)
    while improving:
        improving = False
        for name, values in param_grid.items():
            at = values.index(chosen[name])
            for neighbour in values[max(at - 1, 0) : at + 2]:
                other = {**chosen, name: neighbour}
                if improves(other, losses[tuple(chosen.values())]):
                    chosen, improving = other, True
    return chosen, losses


def fit_platt_scaling(
    scores_NS: NDArray[np.float64], targets_N: NDArray[np.int64], weights_N: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Slope and biases with the least log loss of softmax(slope · scores + bias).

    With two classes this is Platt's sigmoid. As there, a class of n images aims at the
    probability (n + 1) / (n + 2), not at 1, so that scores without a mistake stay finite.
    """
    from scipy.optimize import minimize

    N, S = scores_NS.shape
    count_N = np.bincount(targets_N, minlength=S)[targets_N]
    wanted_NS = np.repeat(1 / ((count_N + 2) * max(S - 1, 1))[:, None], S, axis=1)
    wanted_NS[np.arange(N), targets_N] = (count_N + 1) / (count_N + 2)
    share_N1 = (weights_N / weights_N.sum())[:, None]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, bias_S = np.exp(parameters[0]), parameters[1:]
        logits_NS = slope * scores_NS + bias_S
        log_NS = logits_NS - np.logaddexp.reduce(logits_NS, axis=1, keepdims=True)
        rest_NS = share_N1 * (np.exp(log_NS) - wanted_NS)
        penalty = 1e-4 * float(bias_S @ bias_S)  # biases are known up to a constant
        gradient = [slope * (rest_NS * scores_NS).sum(), *(rest_NS.sum(0) + 2e-4 * bias_S)]
        return float(-(share_N1 * wanted_NS * log_NS).sum()) + penalty, np.array(gradient)

    bounds = [tuple(np.log(SLOPES)), *[(-20.0, 20.0)] * S]
    found = minimize(loss, np.zeros(S + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0])), np.asarray(found.x[1:])
