"""Settings chosen, and probabilities calibrated, by pictures that a fold holds out.

Both look at the same scores, so no picture is kept back from the fit that ships: Platt 1999,
"Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood
Methods".

Shape suffixes: N pictures, D embedding, S classes seen in training, C all classes.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import available_cores
from holotype.models.classical import ABSENT, Calibration
from holotype.predictions import softmax
from holotype.training.head import head_folds

TUNING_IMAGES = 3000  # settings are chosen on no more; some fits take the square of the time
SLOPES = (0.05, 50.0)  # of the calibration; even the least keeps the order of the scores

Setting = float | int | None
Settings = Mapping[str, Setting]
Key = tuple[Setting, ...]  # the values of settings, in their order
Fit = Callable[[Settings], Any]


@dataclass(frozen=True, eq=False)
class Learnable:
    """Pictures to learn from; weights have mean 1, targets are numbers among all classes."""

    features_ND: NDArray[np.float32]
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float64]

    def rows(self, rows: NDArray[np.int64]) -> "Learnable":
        return Learnable(self.features_ND[rows], self.targets_N[rows], self.weights_N[rows])

    @property
    def seen(self) -> tuple[int, ...]:
        return tuple(int(c) for c in np.unique(self.targets_N))


class Family(Protocol):
    """A kind of classifier with settings to choose."""

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def choices(self) -> Mapping[str, Sequence[Setting]]:
        """The candidates for every setting, in the order of their size."""

    def learner(self, data: Learnable) -> Fit:
        """What fits to these pictures, whatever the settings; work they share is done once."""

    def scores(self, fitted: Any, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """One score for each seen class; more speaks for it."""

    def export(self, fitted: Any, embedding_size: int, calibration: Calibration) -> bytes:
        """The graph from embedding to logits."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Folds of the pictures that choose, and the scores that they got.

    Attributes:
        data: the training pictures, or TUNING_IMAGES of them.
        folds: what learns from the pictures outside of a fold, and the rows of those inside.
        scores: for all settings that were asked for, (N, S) and the rows that it is about.
    """

    family: Family
    data: Learnable
    folds: list[tuple[Fit, NDArray[np.int64]]]
    scores: dict[Key, tuple[NDArray[np.float64], NDArray[np.int64]]] = field(default_factory=dict)

    @classmethod
    def of(cls, family: Family, data: Learnable, groups: Sequence[str], folds: int) -> "HeldOut":
        count = len(data.targets_N)
        drawn = np.random.default_rng(family.seed).permutation(count)[:TUNING_IMAGES]
        rows = np.sort(drawn)
        some = data.rows(rows)
        pairs = head_folds(some.targets_N, [groups[row] for row in rows], folds, family.seed)
        return cls(family, some, [(family.learner(some.rows(fit)), held) for fit, held in pairs])

    def loss(self, settings: Settings) -> float | None:
        """Mean weighted log loss, calibrated; None where nothing can be held out."""
        scores_NS, targets_N, weights_N = self._judged(settings)
        if not len(targets_N):
            return None
        slope, bias_S = fit_calibration(scores_NS, targets_N, weights_N)
        true_N = softmax(slope * scores_NS + bias_S)[np.arange(len(targets_N)), targets_N]
        return float(-(weights_N @ np.log(np.maximum(true_N, 1e-12))) / weights_N.sum())

    def calibration(
        self, settings: Settings, seen: tuple[int, ...], num_classes: int
    ) -> Calibration:
        """Fitted on held-out scores; a class that they lack is neither raised nor lowered."""
        slope, bias_S = 1.0, np.zeros(len(seen))
        scores_NS, targets_N, weights_N = self._judged(settings)
        if len(targets_N):
            slope, fitted_S = fit_calibration(scores_NS, targets_N, weights_N)
            bias_S[np.searchsorted(seen, self.data.seen)] = fitted_S
        return Calibration(slope, bias_S, seen, num_classes)

    def _judged(
        self, settings: Settings
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Scores, targets among the seen classes, and weights, of the pictures held out."""
        key = tuple(settings.values())
        if key not in self.scores:
            with ThreadPoolExecutor(available_cores()) as pool:
                parts = list(pool.map(partial(self._of_fold, settings), self.folds))
            none = np.empty((0, len(self.data.seen))), np.empty(0, np.int64)
            scores, rows = zip(none, *parts, strict=True)
            self.scores[key] = np.concatenate(scores), np.concatenate(rows)
        scores_NS, rows_N = self.scores[key]
        targets_N = np.searchsorted(self.data.seen, self.data.targets_N[rows_N])
        return scores_NS, targets_N, self.data.weights_N[rows_N]

    def _of_fold(
        self, settings: Settings, fold: tuple[Fit, NDArray[np.int64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(N, S) scores of the pictures in a fold, and their rows.

        A class that the other folds lack scores ABSENT; its pictures cannot be judged.
        """
        learner, held = fold
        fitted = learner(settings)
        held = held[np.isin(self.data.targets_N[held], fitted.classes_)]
        scores_NS = np.full((len(held), len(self.data.seen)), ABSENT)
        if len(held):
            columns = np.searchsorted(self.data.seen, fitted.classes_)
            scores_NS[:, columns] = self.family.scores(fitted, self.data.features_ND[held])
        return scores_NS, held


def choose(
    choices: Mapping[str, Sequence[Setting]], loss_of: Callable[[Settings], float | None]
) -> tuple[dict[str, Setting], dict[Key, float]]:
    """From the middle of every list, one step at a time, as long as the loss falls.

    Returns:
        The settings, and the losses of all that were tried; none where there is no loss.
    """
    chosen = {name: values[len(values) // 2] for name, values in choices.items()}
    losses: dict[Key, float] = {}

    def falls(settings: Settings, below: float) -> bool:
        key = tuple(settings.values())
        if key not in losses and (loss := loss_of(settings)) is not None:
            losses[key] = loss
        return losses.get(key, np.inf) < below

    falling = falls(chosen, np.inf)
    while falling:
        falling = False
        for name, values in choices.items():
            at = values.index(chosen[name])
            for beside in values[max(at - 1, 0) : at + 2]:
                other = {**chosen, name: beside}
                if falls(other, losses[tuple(chosen.values())]):
                    chosen, falling = other, True
    return chosen, losses


def fit_calibration(
    scores_NS: NDArray[np.float64], targets_N: NDArray[np.int64], weights_N: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Slope and biases with the least log loss of softmax(slope · scores + bias).

    With two classes this is Platt's sigmoid. As there, a class of n pictures aims at the
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
