"""What a linear head says of images that it did not learn from.

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
    stratified_folds,
)


@dataclass(frozen=True, eq=False)
class OutOfFoldPredictions:
    """Predictions for every image by a head that was fitted without it.

    Attributes:
        probabilities_NC: rows sum to 1; a row is NaN where no head could be fitted without the
            image, as in a data set of two images.
        class_was_seen_N: whether that head had seen other images of the image's own class, so
            that it may be asked about the label.
        best_Cs: the chosen C of each fold.
    """

    probabilities_NC: NDArray[np.float64]
    class_was_seen_N: NDArray[np.bool_]
    best_Cs: tuple[float, ...]


def out_of_fold_predictions(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    *,
    num_classes: int,
    Cs: Sequence[float],
    folds: int,
    seed: int,
) -> OutOfFoldPredictions:
    """Cross-validated predictions of the linear head, over shuffled, stratified, grouped folds.

    Each fold's C is chosen by what the *other* folds lost when they were held out, so that no
    image has a say in the head that judges it. Features are standardised once, over all
    images, which needs no label.

    Args:
        weights_N: what each image weighs in fitting; at least one positive.
        groups: images of one atomic group share a fold; "" for none.
        Cs: candidates for C.
        folds: fewer are made where a class or the groups do not allow as many.
    """
    from threadpoolctl import threadpool_limits

    splits = stratified_folds(targets_N, groups, folds, seed)
    mean_D, scale_D = standardisation(features_ND)
    standard_ND = ((features_ND - mean_D) / scale_D).astype(np.float32)
    with threadpool_limits(limits=1):  # as in fit_linear_head: a second thread is waited for
        tries = cross_validated_by_C(standard_ND, targets_N, weights_N, splits, num_classes, Cs)
        tried = {C: probabilities_NC for C, probabilities_NC, _ in tries}
    probabilities_NC = np.full((len(targets_N), num_classes), np.nan)
    class_was_seen_N = np.zeros(len(targets_N), np.bool_)
    chosen = []
    for number, (fit, held) in enumerate(splits):
        C = _best_on_other_folds(tried, targets_N, weights_N, splits, number)
        chosen.append(C)
        probabilities_NC[held] = tried[C][held]
        class_was_seen_N[held] = np.isin(targets_N[held], targets_N[fit])
    return OutOfFoldPredictions(probabilities_NC, class_was_seen_N, tuple(chosen))


def out_of_fold_probabilities(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    *,
    num_classes: int,
    Cs: Sequence[float],
    folds: int,
    seed: int,
) -> NDArray[np.float64]:
    """The probabilities of `out_of_fold_predictions` alone, (N, C)."""
    return out_of_fold_predictions(
        features_ND, targets_N, weights_N, groups,
        num_classes=num_classes, Cs=Cs, folds=folds, seed=seed,
    ).probabilities_NC  # fmt: skip


def _best_on_other_folds(
    tried: dict[float, NDArray[np.float64]],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    splits: Sequence[tuple[RowIndices, RowIndices]],
    number: int,
) -> float:
    """The C that lost least on all folds but one; of equals the smaller."""
    others = [held for other, (_, held) in enumerate(splits) if other != number]
    rows = np.concatenate(others) if others else np.empty(0, np.int64)
    return min(tried, key=lambda c: held_out_log_loss(tried[c], targets_N, weights_N, rows))
