"""What a linear head says of pictures that it did not learn from.

Shape suffixes: N pictures, D features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.training.head import (
    Rows,
    head_folds,
    held_out_by_strength,
    held_out_loss,
    standardisation,
)


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
        tries = held_out_by_strength(
            standard_ND, targets_N, weights_N, splits, num_classes, strengths
        )
        tried = {strength: probabilities_NC for strength, probabilities_NC, _ in tries}
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
    return min(tried, key=lambda c: held_out_loss(tried[c], targets_N, weights_N, rows))
