"""What a linear head says of pictures that it did not learn from.

Shape suffixes: N pictures, D features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.predictions import softmax
from holotype.training.head import Logistic, head_folds, standardisation

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions for every picture by a head that was fitted without it.

    Attributes:
        probabilities_NC: rows sum to 1; a row is NaN where no head could be fitted without the
            picture, as in a data set of two pictures.
        is_judged_N: whether that head had seen other pictures of the picture's own class, so
            that it may be asked about the label.
        strengths: the chosen C of each fold.
    """

    probabilities_NC: NDArray[np.float64]
    is_judged_N: NDArray[np.bool_]
    strengths: tuple[float, ...]


def out_of_fold(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    units: Sequence[str],
    *,
    num_classes: int,
    strengths: Sequence[float],
    folds: int,
    seed: int,
) -> OutOfFold:
    """Cross-validated predictions of the linear head, over shuffled, stratified, grouped folds.

    Each fold's C is chosen by what the *other* folds lost when they were held out, so that no
    picture has a say in the head that judges it. Features are standardised once, over all
    pictures, which needs no label.

    Args:
        weights_N: what each picture weighs in fitting; at least one positive.
        units: pictures of one unit (a group, copies of one picture) share a fold; "" for none.
        strengths: candidates for C.
        folds: fewer are made where a class or the units do not allow as many.
    """
    from threadpoolctl import threadpool_limits

    splits = head_folds(targets_N, units, folds, seed)
    mean_D, scale_D = standardisation(features_ND)
    standard_ND = ((features_ND - mean_D) / scale_D).astype(np.float32)
    with threadpool_limits(limits=1):  # as in fit_linear_head: a second thread is waited for
        tried = _held_out(standard_ND, targets_N, weights_N, splits, num_classes, strengths)
    probabilities_NC = np.full((len(targets_N), num_classes), np.nan)
    is_judged_N = np.zeros(len(targets_N), np.bool_)
    chosen = []
    for number, (fit, held) in enumerate(splits):
        strength = _best_for_the_others(tried, targets_N, weights_N, splits, number)
        chosen.append(strength)
        probabilities_NC[held] = tried[strength][held]
        is_judged_N[held] = np.isin(targets_N[held], targets_N[fit])
    return OutOfFold(probabilities_NC, is_judged_N, tuple(chosen))


def out_of_fold_probabilities(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    units: Sequence[str],
    *,
    num_classes: int,
    strengths: Sequence[float],
    folds: int,
    seed: int,
) -> NDArray[np.float64]:
    """The probabilities of `out_of_fold` alone, (N, C)."""
    return out_of_fold(
        features_ND, targets_N, weights_N, units,
        num_classes=num_classes, strengths=strengths, folds=folds, seed=seed,
    ).probabilities_NC  # fmt: skip


def _held_out(
    standard_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    splits: Sequence[tuple[Rows, Rows]],
    num_classes: int,
    strengths: Sequence[float],
) -> dict[float, NDArray[np.float64]]:
    """Held-out probabilities (N, C) by strength, in rising order.

    As in `fit_linear_head`, no further than the first strength that is worse than one before.
    """
    models = [Logistic(num_classes) for _ in splits]
    tried: dict[float, NDArray[np.float64]] = {}
    losses: list[float] = []
    for strength in sorted(strengths) if splits else ():
        probabilities_NC = np.full((len(targets_N), num_classes), np.nan)
        for model, (fit, held) in zip(models, splits, strict=True):
            weight_CD, bias_C = model.fit(
                strength, standard_ND[fit], targets_N[fit], weights_N[fit]
            )
            probabilities_NC[held] = softmax(standard_ND[held] @ weight_CD.T + bias_C)
        tried[strength] = probabilities_NC
        every = np.concatenate([held for _, held in splits])
        losses.append(_loss(probabilities_NC, targets_N, weights_N, every))
        if losses[-1] > min(losses):
            break
    return tried


def _best_for_the_others(
    tried: dict[float, NDArray[np.float64]],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    splits: Sequence[tuple[Rows, Rows]],
    number: int,
) -> float:
    """The strength that lost least on all folds but one; of equals the smaller."""
    others = [held for other, (_, held) in enumerate(splits) if other != number]
    rows = np.concatenate(others) if others else np.empty(0, np.int64)
    return min(tried, key=lambda c: _loss(tried[c], targets_N, weights_N, rows))


def _loss(
    probabilities_NC: NDArray[np.float64],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    rows: Rows,
) -> float:
    """Weighted log loss, summed over some rows."""
    true_R = probabilities_NC[rows, targets_N[rows]]
    return -float(weights_N[rows] @ np.log(np.maximum(true_R, 1e-12)))
