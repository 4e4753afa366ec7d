"""Choose hyperparameters and calibrate probabilities by cross-validation.

Both use the scores of images that a fold holds out, so no image is kept back from the fit that
ships: Platt 1999, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
Likelihood Methods".

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
from holotype.bundle.onnx_runtime import available_cores
from holotype.predictions import softmax
from holotype.training.heads.logistic_regression import stratified_folds
from holotype.training.heads.training_data import TrainingData

TUNING_IMAGES = 3000  # at most, for choosing: the time of some fits is quadratic in their number
SLOPES = (0.05, 50.0)  # bounds of the calibration's slope; above 0, the scores keep their order

HyperparameterValue = float | int | None
Hyperparameters = Mapping[str, HyperparameterValue]
HyperparameterKey = tuple[HyperparameterValue, ...]  # the values of settings, in their order
ParamGrid = dict[str, Sequence[HyperparameterValue]]  # ascending candidates for every setting
FitFunction = Callable[[Hyperparameters], Any]


class EstimatorFamily(Protocol):
    """A kind of classifier with settings to choose."""

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def param_grid(self) -> ParamGrid: ...

    def fit_function(self, data: TrainingData) -> FitFunction:
        """settings -> a classifier fitted to these images; work that they share is done once."""

    def scores(self, fitted: Any, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, S): a higher score is more evidence for the class."""

    def export(self, fitted: Any, embedding_size: int, calibration: PlattCalibration) -> bytes:
        """The graph from embedding to logits."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Held-out scores of the training images, or of TUNING_IMAGES of them.

    Attributes:
        folds: for each fold, what fits to the images outside of it, and the rows of those inside.
        scores: for all settings that were asked for, (N, S) and the rows of those N images.
    """

    family: EstimatorFamily
    data: TrainingData
    folds: list[tuple[FitFunction, NDArray[np.int64]]]
    scores: dict[HyperparameterKey, tuple[NDArray[np.float64], NDArray[np.int64]]] = field(
        default_factory=dict
    )

    @classmethod
    def create(cls, family: EstimatorFamily, data: TrainingData, folds: int) -> "CrossValidation":
        drawn = np.random.default_rng(family.seed).permutation(len(data))[:TUNING_IMAGES]
        some = data.rows(np.sort(drawn))
        pairs = stratified_folds(some.targets_N, some.groups, folds, family.seed)
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

    def calibration(self, settings: Hyperparameters, seen: tuple[int, ...]) -> PlattCalibration:
        """Fitted on held-out scores; the bias of a seen class without any is 0."""
        slope, bias_S = 1.0, np.zeros(len(seen))
        scores_NS, targets_N, weights_N = self._held_out_scores(settings)
        if len(targets_N):
            slope, fitted_S = fit_platt_scaling(scores_NS, targets_N, weights_N)
            bias_S[np.searchsorted(seen, self.data.seen_classes)] = fitted_S
        return PlattCalibration(slope, bias_S, seen, self.data.num_classes)

    def _held_out_scores(
        self, settings: Hyperparameters
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Scores, targets (numbers among the seen classes) and weights of the images held out."""
        key = tuple(settings.values())
        if key not in self.scores:
            with ThreadPoolExecutor(available_cores()) as pool:
                parts = list(pool.map(partial(self._fold_scores, settings), self.folds))
            none = np.empty((0, len(self.data.seen_classes))), np.empty(0, np.int64)
            scores, rows = zip(none, *parts, strict=True)
            self.scores[key] = np.concatenate(scores), np.concatenate(rows)
        scores_NS, rows_N = self.scores[key]
        targets_N = np.searchsorted(self.data.seen_classes, self.data.targets_N[rows_N])
        return scores_NS, targets_N, self.data.weights_N[rows_N]

    def _fold_scores(
        self, settings: Hyperparameters, fold: tuple[FitFunction, NDArray[np.int64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, S) scores of the images in a fold, and their rows.

        A class that the other folds lack scores ABSENT_CLASS_LOGIT, and its images are left out.
        """
        fit_function, held = fold
        fitted = fit_function(settings)
        held = held[np.isin(self.data.targets_N[held], fitted.classes_)]
        scores_NS = np.full((len(held), len(self.data.seen_classes)), ABSENT_CLASS_LOGIT)
        if len(held):
            columns = np.searchsorted(self.data.seen_classes, fitted.classes_)
            scores_NS[:, columns] = self.family.scores(fitted, self.data.features_ND[held])
        return scores_NS, held


def coordinate_search(
    param_grid: ParamGrid,
    loss_of: Callable[[Hyperparameters], float | None],
) -> tuple[dict[str, HyperparameterValue], dict[HyperparameterKey, float]]:
    """Descend from the middle of every list, one setting and one step at a time.

    Returns:
        The settings, and the losses of all that were tried; empty where `loss_of` gives None.
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
