"""Fit the weights of the members of an ensemble on validation predictions.

Every method gives a matrix of weights (members, classes); the probability of a class is the
weighted sum over members, renormalised over classes.

- `average`: equal weights.
- `weighted`: one weight a member, on the simplex, with the lowest log loss.
- `greedy`: forward selection with replacement (Caruana et al. 2004, "Ensemble Selection from
  Libraries of Models").
- `adaptive`: one weight for every member and class, by its error on the class; shrunk towards equal
  weights, the more the fewer images or groups the class has.

Shape suffixes: M members, N images, C classes, U units (images or groups).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EnsembleMethod = Literal["average", "weighted", "greedy", "adaptive"]

METHODS: tuple[EnsembleMethod, ...] = get_args(EnsembleMethod)
GREEDY_STEPS = 50
GREEDY_START = 3  # the best members to start with, as in the paper
SHRINKAGE_IMAGES = 20.0  # the weight of equal weights, in images or groups of a class
_ITERATIONS = 300
_SMALLEST = 1e-12
_SMALLEST_ERROR = 0.01  # so that no member has all the weight of a class


@dataclass(frozen=True, eq=False)
class FittedWeights:
    """Weights, and the log loss of every method on held-out images.

    Attributes:
        method: the chosen method.
        weights_MC: of the members, for each class; columns sum to 1.
        losses: log loss by method, out of fold.
    """

    method: EnsembleMethod
    weights_MC: Floats
    losses: dict[EnsembleMethod, float]


def combine(probabilities_MNC: Floats, weights_MC: Floats) -> Floats:
    """The ensemble's probabilities (N, C); rows sum to 1."""
    mixed_NC = np.einsum("mnc,mc->nc", probabilities_MNC, weights_MC)
    return np.asarray(mixed_NC / mixed_NC.sum(axis=1, keepdims=True), np.float64)


def fit_weights(
    method: EnsembleMethod,
    probabilities_MNC: Floats,
    targets_N: NDArray[np.int64],
    weights_N: Floats,
    unit_N: NDArray[np.int64] | None = None,
) -> Floats:
    """Weights (M, C) from validation predictions.

    Args:
        probabilities_MNC: of every member for the same images, after its temperature.
        targets_N: their classes.
        weights_N: of the images; at least one above 0.
        unit_N: the number of each image's group, from 0; without it every image is a unit.
    """
    M, _, C = probabilities_MNC.shape
    fit: dict[EnsembleMethod, Callable[[], Floats]] = {
        "average": lambda: np.full(M, 1 / M),
        "weighted": lambda: _mixture_weights_by_em(probabilities_MNC, targets_N, weights_N),
        "greedy": lambda: _greedy(probabilities_MNC, targets_N, weights_N),
    }
    if method == "adaptive":
        own_N = np.arange(len(targets_N)) if unit_N is None else unit_N
        return _adaptive(probabilities_MNC, targets_N, weights_N, own_N)
    return np.repeat(fit[method]()[:, None], C, axis=1)


def choose_method(
    probabilities_MNC: Floats,
    targets_N: NDArray[np.int64],
    weights_N: Floats,
    fold_N: NDArray[np.int64],
    *,
    unit_N: NDArray[np.int64] | None = None,
) -> FittedWeights:
    """The method with the lowest log loss on held-out folds.

    A method other than `average` is chosen only where its gain over `average` exceeds two standard
    errors.

    Args:
        fold_N: which images are held out together; groups and copies share a fold. With a single
            fold `average` is chosen.
        unit_N: see `fit_weights`.
    """
    if len(np.unique(fold_N)) < 2:
        average = fit_weights("average", probabilities_MNC, targets_N, weights_N)
        return FittedWeights("average", average, {})
    losses_N: dict[EnsembleMethod, Floats] = {
        method: _losses(
            _held_out(method, probabilities_MNC, targets_N, weights_N, fold_N, unit_N), targets_N
        )
        for method in METHODS
    }
    losses: dict[EnsembleMethod, float] = {
        method: float(np.average(loss_N, weights=weights_N)) for method, loss_N in losses_N.items()
    }
    best = min(METHODS, key=lambda method: losses[method])
    if best != "average":
        gain_N = losses_N["average"] - losses_N[best]
        gain = float(np.average(gain_N, weights=weights_N))
        if gain < 2 * _standard_error(gain_N, weights_N, unit_N):
            best = "average"
    return FittedWeights(
        best, fit_weights(best, probabilities_MNC, targets_N, weights_N, unit_N), losses
    )


def _held_out(
    method: EnsembleMethod,
    probabilities_MNC: Floats,
    targets_N: NDArray[np.int64],
    weights_N: Floats,
    fold_N: NDArray[np.int64],
    unit_N: NDArray[np.int64] | None = None,
) -> Floats:
    """Probabilities (N, C) of each fold with weights fitted on the other folds."""
    found_NC = np.empty(probabilities_MNC.shape[1:])
    for fold in np.unique(fold_N):
        held = fold_N == fold
        weights_MC = fit_weights(
            method, probabilities_MNC[:, ~held], targets_N[~held], weights_N[~held],
            None if unit_N is None else unit_N[~held],
        )  # fmt: skip
        found_NC[held] = combine(probabilities_MNC[:, held], weights_MC)
    return found_NC


def _standard_error(gain_N: Floats, weights_N: Floats, unit_N: NDArray[np.int64] | None) -> float:
    """The standard error of the weighted mean of gains over independent units."""
    share_N = weights_N / weights_N.sum()
    centred_N = share_N * (gain_N - share_N @ gain_N)
    if unit_N is not None:
        centred_N = np.bincount(unit_N, centred_N)
    return float(np.sqrt((centred_N**2).sum()))


def _losses(probabilities_NC: Floats, targets_N: NDArray[np.int64]) -> Floats:
    true_N = probabilities_NC[np.arange(len(targets_N)), targets_N]
    return np.asarray(-np.log(np.maximum(true_N, _SMALLEST)), np.float64)


def _mixture_weights_by_em(
    probabilities_MNC: Floats, targets_N: NDArray[np.int64], weights_N: Floats
) -> Floats:
    """Mixture weights of the highest likelihood, by expectation-maximisation.

    The log loss of a mixture is convex in its weights, and every step lowers it (Dempster, Laird &
    Rubin 1977).
    """
    true_MN = probabilities_MNC[:, np.arange(len(targets_N)), targets_N]
    share_M = np.full(len(true_MN), 1 / len(true_MN))
    for _ in range(_ITERATIONS):
        part_MN = share_M[:, None] * true_MN + _SMALLEST
        part_MN /= part_MN.sum(axis=0)
        share_M = np.average(part_MN, axis=1, weights=weights_N)
    return np.asarray(share_M, np.float64)


def _greedy(probabilities_MNC: Floats, targets_N: NDArray[np.int64], weights_N: Floats) -> Floats:
    """The share of selections of each member in greedy forward selection."""

    def loss(sum_NC: Floats, taken: int) -> float:
        return float(np.average(_losses(sum_NC / taken, targets_N), weights=weights_N))

    M = len(probabilities_MNC)
    alone = sorted(range(M), key=lambda member: loss(probabilities_MNC[member], 1))
    counts_M = np.zeros(M)
    counts_M[alone[: min(GREEDY_START, M)]] = 1
    sum_NC = np.einsum("m,mnc->nc", counts_M, probabilities_MNC)
    best, best_counts_M = loss(probabilities_MNC[alone[0]], 1), np.eye(M)[alone[0]]
    together = loss(sum_NC, int(counts_M.sum()))
    if together < best:
        best, best_counts_M = together, counts_M.copy()
    for taken in range(int(counts_M.sum()) + 1, GREEDY_STEPS + 1):
        losses = [loss(sum_NC + probabilities_MNC[member], taken) for member in range(M)]
        member = int(np.argmin(losses))
        counts_M[member] += 1
        sum_NC = sum_NC + probabilities_MNC[member]
        if losses[member] < best:
            best, best_counts_M = losses[member], counts_M.copy()
    return np.asarray(best_counts_M / best_counts_M.sum(), np.float64)


def _adaptive(
    probabilities_MNC: Floats,
    targets_N: NDArray[np.int64],
    weights_N: Floats,
    unit_N: NDArray[np.int64],
) -> Floats:
    """Weights of every class by the inverse squared error of each member on it.

    The error is the mean of the squared errors of the class probability on images of the class and
    on all others, as in Bates & Granger 1969, "The Combination of Forecasts"; here it is squared
    once more, so that members that do not know a class have little weight.
    """
    M, _, C = probabilities_MNC.shape
    weights_MC = np.full((M, C), 1 / M)
    for number in range(C):
        is_class_N = targets_N == number
        own_N, rest_N = weights_N * is_class_N, weights_N * ~is_class_N
        if own_N.sum() == 0:
            continue
        class_probabilities_MN = probabilities_MNC[:, :, number]
        # Both with equal weight, since images of other classes are many.
        missed_M = (1 - class_probabilities_MN) ** 2 @ own_N / own_N.sum()
        mistaken_M = class_probabilities_MN**2 @ rest_N / max(rest_N.sum(), _SMALLEST)
        inverse_error_M = ((missed_M + mistaken_M) / 2 + _SMALLEST_ERROR) ** -2.0
        effective_size = _effective_sample_size(np.bincount(unit_N, own_N).astype(np.float64))
        shrinkage = effective_size / (effective_size + SHRINKAGE_IMAGES)
        weights_MC[:, number] = (
            shrinkage * inverse_error_M / inverse_error_M.sum() + (1 - shrinkage) / M
        )
    return weights_MC


def _effective_sample_size(weights_U: Floats) -> float:
    """The effective number of units (Kish 1965, "Survey Sampling")."""
    return float(weights_U.sum() ** 2 / (weights_U**2).sum())
