"""A linear head on kept features, its regularisation chosen by cross-validation.

Shape suffixes: N images, D features, C classes.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.predictions import softmax

RowIndices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = embedding @ weight.T + bias; standardisation is folded in.

    Attributes:
        weight_CD, bias_C: float32.
        best_C: the chosen C of the logistic regression.
        losses: mean held-out log loss of every candidate, by C.
    """

    weight_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    best_C: float
    losses: dict[float, float]


def fit_linear_head(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    *,
    num_classes: int,
    Cs: Sequence[float],
    folds: int,
    seed: int,
) -> LinearHead:
    """Multinomial logistic regression; C is chosen by shuffled, stratified, grouped folds.

    Folds that keep the order of files would follow the module, specimen or day that an image
    came from, and choose far too small a C.

    Args:
        groups: images of one group never stand on both sides of a fold; "" for none.
        Cs: candidates for C; the first of equals is taken, which is the smaller.
        folds: fewer are made where a class or the groups do not allow as many.
    """
    from threadpoolctl import threadpool_limits

    mean_D, scale_D = standardisation(features_ND)
    standard_ND = ((features_ND - mean_D) / scale_D).astype(np.float32)
    Cs = sorted(Cs)
    # One thread: products this small spend up to 30 times as long in waiting for a second one.
    with threadpool_limits(limits=1):
        splits = stratified_folds(targets_N, groups, folds, seed)
        weight = sum(float(weights_N[held].sum()) for _, held in splits)
        tried = cross_validated_by_C(standard_ND, targets_N, weights_N, splits, num_classes, Cs)
        losses = {C: loss / weight for C, _, loss in tried} if weight else {}
        middle = Cs[len(Cs) // 2]
        C = min(losses, key=lambda c: losses[c]) if losses else middle
        weight_CD, bias_C = WarmStartedLogisticRegression(num_classes).fit(
            C, standard_ND, targets_N, weights_N
        )
    folded_CD = weight_CD / scale_D
    return LinearHead(
        weight_CD=folded_CD.astype(np.float32),
        bias_C=(bias_C - folded_CD @ mean_D).astype(np.float32),
        best_C=C,
        losses=losses,
    )


def standardisation(features_ND: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation of every feature; constant ones are left as they are."""
    mean_D = features_ND.mean(axis=0, dtype=np.float64)
    scale_D = features_ND.std(axis=0, dtype=np.float64)
    return mean_D, np.where(scale_D > 1e-6, scale_D, 1.0)


def cross_validated_by_C(
    standard_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    splits: Sequence[tuple[RowIndices, RowIndices]],
    num_classes: int,
    Cs: Sequence[float],
) -> Iterator[tuple[float, NDArray[np.float64], float]]:
    """Each C with the held-out probabilities (N, C) and their `held_out_log_loss`.

    Strengths are tried in rising order and no further than the first that is worse than one
    before: larger ones fit ever more closely, and take ever longer. Images that no fold holds
    out are NaN; nothing comes where there is no fold.
    """
    models = [WarmStartedLogisticRegression(num_classes) for _ in splits]
    rows = np.concatenate([held for _, held in splits]) if splits else np.empty(0, np.int64)
    least = np.inf
    for C in sorted(Cs) if splits else ():
        probabilities_NC = np.full((len(targets_N), num_classes), np.nan)
        for model, (fit, held) in zip(models, splits, strict=True):
            weight_CD, bias_C = model.fit(C, standard_ND[fit], targets_N[fit], weights_N[fit])
            probabilities_NC[held] = softmax(standard_ND[held] @ weight_CD.T + bias_C)
        loss = held_out_log_loss(probabilities_NC, targets_N, weights_N, rows)
        yield C, probabilities_NC, loss
        if loss > least:
            return
        least = loss


def held_out_log_loss(
    probabilities_NC: NDArray[np.float64],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    rows: RowIndices,
) -> float:
    """Weighted log loss, summed over some rows."""
    true_R = probabilities_NC[rows, targets_N[rows]]
    return -float(weights_N[rows] @ np.log(np.maximum(true_R, 1e-12)))


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

    def __init__(self, num_classes: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self._num_classes = num_classes
        self._model = LogisticRegression(warm_start=True, max_iter=300, tol=1e-3)

    def fit(
        self,
        C: float,
        standard_ND: NDArray[np.float32],
        targets_N: NDArray[np.int64],
        weights_N: NDArray[np.float64],
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """(weight_CD, bias_C); classes without an image get a logit far below all others."""
        from sklearn.exceptions import ConvergenceWarning

        # Mean weight 1, so that a C means the same whatever the scale of the weights.
        scaled_N = weights_N / weights_N.mean()
        self._model.set_params(C=C)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(standard_ND, targets_N, sample_weight=scaled_N)
        return _expand_to_all_classes(self._model, self._num_classes)


ABSENT_CLASS_LOGIT = -30.0  # a logit that leaves e^-30 of probability


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
