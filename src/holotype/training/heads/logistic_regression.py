"""A linear head on embeddings, its regularisation chosen by cross-validation.

Shape suffixes: N images, D features, C classes, R rows of some images.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.sklearn_onnx import ABSENT_CLASS_LOGIT
from holotype.bundle.onnx_runtime import available_cores
from holotype.predictions import softmax
from holotype.training.config.stage_config import LinearStage
from holotype.training.heads.training_data import TrainingData

RowIndices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = embedding @ weight.T + bias; standardisation is folded in.

    Attributes:
        weight_CD, bias_C: float32.
        best_C: the chosen C of the logistic regression.
        losses: mean held-out log loss by C; empty where there was nothing to choose, or no fold.
    """

    weight_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    best_C: float
    losses: dict[float, float]


def fit_linear_head(data: TrainingData, stage: LinearStage, seed: int) -> LinearHead:
    """Multinomial logistic regression; C is chosen by shuffled, stratified, grouped folds.

    Folds in the order of the files would follow the module, specimen or day that an image came
    from, and choose far too small a C.

    Args:
        stage: names the candidates for C, of which the smallest of equals is taken, and the number
            of folds; fewer are made where a class or the groups do not allow as many.
        seed: of the folds.
    """
    from threadpoolctl import threadpool_limits

    data = data.counted
    mean_D, scale_D = standardisation(data.features_ND)
    standard = standardised(data, mean_D, scale_D)
    Cs = sorted(stage.Cs)
    # One thread: products this small spend up to 30 times as long in waiting for a second one.
    with threadpool_limits(limits=1):
        losses: dict[float, float] = {}
        if stage.folds is not None:
            splits = stratified_folds(data.targets_N, data.groups, stage.folds, seed)
            weight = sum(float(data.weights_N[held].sum()) for _, held in splits)
            tried = cross_validated_by_C(standard, splits, Cs)
            losses = {C: loss / weight for C, _, loss in tried} if weight else {}
        C = min(losses, key=lambda c: losses[c]) if losses else Cs[len(Cs) // 2]
        with _without_convergence_warnings():
            weight_CD, bias_C = WarmStartedLogisticRegression().fit(C, standard)
    folded_CD = weight_CD / scale_D
    return LinearHead(
        weight_CD=folded_CD.astype(np.float32),
        bias_C=(bias_C - folded_CD @ mean_D).astype(np.float32),
        best_C=C,
        losses=losses,
    )


def standardisation(features_ND: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation of every feature; 1 instead of the deviation of constant ones."""
    mean_D = features_ND.mean(axis=0, dtype=np.float64)
    scale_D = features_ND.std(axis=0, dtype=np.float64)
    return mean_D, np.where(scale_D > 1e-6, scale_D, 1.0)


def standardised(
    data: TrainingData, mean_D: NDArray[np.float64], scale_D: NDArray[np.float64]
) -> TrainingData:
    """The same images with features of mean 0 and standard deviation 1."""
    return replace(data, features_ND=((data.features_ND - mean_D) / scale_D).astype(np.float32))


def cross_validated_by_C(
    standard: TrainingData, splits: Sequence[tuple[RowIndices, RowIndices]], Cs: Sequence[float]
) -> Iterator[tuple[float, NDArray[np.float64], float]]:
    """Each C with the held-out probabilities (N, C) and their `held_out_log_loss`.

    C rises until the loss does: larger ones overfit ever more and take ever longer. Folds are
    fitted side by side. Images that no fold holds out are NaN; nothing comes where there is no
    fold.

    Args:
        standard: standardised features.
        splits: from `stratified_folds`.
    """
    models = [WarmStartedLogisticRegression() for _ in splits]
    rows = np.concatenate([held for _, held in splits]) if splits else np.empty(0, np.int64)
    least = np.inf
    for C in sorted(Cs) if splits else ():
        probabilities_NC = np.full((len(standard), standard.num_classes), np.nan)
        predict = partial(_predict_held_out, standard, C)
        with _without_convergence_warnings(), ThreadPoolExecutor(available_cores()) as pool:
            predicted = list(pool.map(predict, models, splits))
        for (_, held), found_RC in zip(splits, predicted, strict=True):
            probabilities_NC[held] = found_RC
        loss = held_out_log_loss(probabilities_NC, standard, rows)
        yield C, probabilities_NC, loss
        if loss > least:
            return
        least = loss


def _predict_held_out(
    standard: TrainingData,
    C: float,
    model: "WarmStartedLogisticRegression",
    split: tuple[RowIndices, RowIndices],
) -> NDArray[np.float64]:
    """Probabilities (R, C) of the images that one fold holds out."""
    fit, held = split
    weight_CD, bias_C = model.fit(C, standard.rows(fit))
    return softmax(standard.features_ND[held] @ weight_CD.T + bias_C)


def held_out_log_loss(
    probabilities_NC: NDArray[np.float64], data: TrainingData, rows: RowIndices
) -> float:
    """Weighted log loss, summed over some rows."""
    true_R = probabilities_NC[rows, data.targets_N[rows]]
    return -float(data.weights_N[rows] @ np.log(np.maximum(true_R, 1e-12)))


def stratified_folds(
    targets_N: NDArray[np.int64], groups: Sequence[str], folds: int, seed: int
) -> list[tuple[RowIndices, RowIndices]]:
    """(rows to fit, rows held out) for each fold; each fits on at least two classes."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    grouped = any(groups)
    # An image without a group is a group of its own.
    units = [group or f"\0{row}" for row, group in enumerate(groups)]
    possible = min(folds, len(set(units)), int(np.bincount(targets_N).max()))
    if possible < 2:
        return []
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = kind(n_splits=possible, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer images than folds is absent from some: that is no fault here.
        warnings.filterwarnings("ignore", message="The least populated class")
        pairs = list(
            splitter.split(np.zeros(len(targets_N)), targets_N, units if grouped else None)
        )
    return [(fit, held) for fit, held in pairs if len(np.unique(targets_N[fit])) > 1]


class WarmStartedLogisticRegression:
    """scikit-learn's multinomial logistic regression, each fit started from the one before."""

    def __init__(self) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(warm_start=True, max_iter=300, tol=1e-3)

    def fit(self, C: float, standard: TrainingData) -> tuple[NDArray[Any], NDArray[Any]]:
        """(weight_CD, bias_C); a class without an image gets ABSENT_CLASS_LOGIT."""
        # Mean weight 1, so that a C means the same whatever the scale of the weights.
        scaled_N = standard.weights_N / standard.weights_N.mean()
        self._model.set_params(C=C)
        self._model.fit(standard.features_ND, standard.targets_N, sample_weight=scaled_N)
        return _expand_to_all_classes(self._model, standard.num_classes)


@contextmanager
def _without_convergence_warnings() -> Iterator[None]:
    """Filters of warnings belong to the process: set around threads, never within one."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _expand_to_all_classes(model: Any, num_classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """scikit-learn's coefficients for every class, the two-class form made symmetric."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight_CD = np.zeros((num_classes, coefficients.shape[1]))
    bias_C = np.full(num_classes, ABSENT_CLASS_LOGIT)
    weight_CD[model.classes_] = coefficients
    bias_C[model.classes_] = intercepts
    return weight_CD, bias_C
