"""Out-of-fold predictions of a linear head.

Shape suffixes: N images, D features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.training.heads.logistic_regression import (
    RowIndices,
    cross_validated_by_C,
    held_out_log_loss,
    standardisation,
    standardised,
    stratified_folds,
)
from holotype.training.heads.training_data import TrainingData


@dataclass(frozen=True, eq=False)
class OutOfFoldPredictions:
    """Predictions for every image by a head that was fitted without it.

    Attributes:
        probabilities_NC: rows sum to 1; a row is NaN where no head could be fitted without the
            image, as in a data set of two images.
        class_was_seen_N: whether that head was fitted on other images of the image's class; where
            not, its prediction says nothing about the label.
        best_Cs: the chosen C of each fold.
    """

    probabilities_NC: NDArray[np.float64]
    class_was_seen_N: NDArray[np.bool_]
    best_Cs: tuple[float, ...]


def out_of_fold_predictions(
    data: TrainingData, *, Cs: Sequence[float], folds: int, seed: int
) -> OutOfFoldPredictions:
    """Cross-validated predictions of the linear head, over shuffled, stratified, grouped folds.

    The C of each fold is the one with the least loss on the *other* folds, so that no image
    influences the head that predicts it. Features are standardised once, over all images, which
    needs no label. Images of weight 0 are predicted and teach nothing.

    Args:
        Cs: candidates for C.
        folds: fewer are made where a class or the groups do not allow as many.
    """
    from threadpoolctl import threadpool_limits

    counted_N = data.weights_N > 0
    splits = [
        (fit[counted_N[fit]], held)
        for fit, held in stratified_folds(data.targets_N, data.groups, folds, seed)
        if len(np.unique(data.targets_N[fit[counted_N[fit]]])) > 1
    ]
    standard = standardised(data, *standardisation(data.features_ND))
    with threadpool_limits(limits=1):  # as in fit_linear_head: a second thread is waited for
        tried = {C: found_NC for C, found_NC, _ in cross_validated_by_C(standard, splits, Cs)}
    probabilities_NC = np.full((len(data), data.num_classes), np.nan)
    class_was_seen_N = np.zeros(len(data), np.bool_)
    chosen = []
    for number, (fit, held) in enumerate(splits):
        C = _best_on_other_folds(tried, data, splits, number)
        chosen.append(C)
        probabilities_NC[held] = tried[C][held]
        class_was_seen_N[held] = np.isin(data.targets_N[held], data.targets_N[fit])
    return OutOfFoldPredictions(probabilities_NC, class_was_seen_N, tuple(chosen))


def _best_on_other_folds(
    tried: dict[float, NDArray[np.float64]],
    data: TrainingData,
    splits: Sequence[tuple[RowIndices, RowIndices]],
    number: int,
) -> float:
    """The C with the least loss on all folds but one; of equals the smaller."""
    others = [held for other, (_, held) in enumerate(splits) if other != number]
    rows = np.concatenate(others) if others else np.empty(0, np.int64)
    return min(tried, key=lambda c: held_out_log_loss(tried[c], data, rows))
