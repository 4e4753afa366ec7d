"""The weights of members, and what the ensemble says of pictures that they were not fitted on.

The ground is what no member learnt from: validation, or what cross-validated runs say out of fold.
Weights that are fitted on the ground flatter the ensemble there, so what is said of it on the
ground is held out a second time: weights and temperature for each fifth come from the rest.

Shape suffixes: M members, N pictures, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.answers import Answers
from holotype.dataset.index import Index
from holotype.ensemble.weights import Choice, Floats, Method, choose, combine, fit_weights
from holotype.evaluation import metrics
from holotype.evaluation.calibration import FEWEST_IMAGES, fit_temperature
from holotype.predictions import Predictions, softmax

NUM_FOLDS = 5
SMALLEST_SHARE = 0.01  # a member that weighs less in every class costs time and says nothing
_SMALLEST = 1e-30


@dataclass(frozen=True, eq=False)
class Ground:
    """What members say of pictures that none of them learnt from.

    Attributes:
        answers: each member's, after its own temperature.
        fold_N: which pictures are held out together when weights are judged.
    """

    answers: Answers
    fold_N: NDArray[np.int64]

    @property
    def probabilities_MNC(self) -> Floats:
        return np.stack([each.probabilities_NC for each in self.answers.predictions])

    @property
    def losses_M(self) -> list[float]:
        """The log loss of every member."""
        return [float(metrics.log_loss(each)) for each in self.answers.predictions]

    @property
    def best(self) -> int:
        """The member to beat: that of the lowest log loss."""
        return int(np.argmin(self.losses_M))


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights, and what they are worth.

    Attributes:
        method: by which they were found.
        members: the numbers of the members that weigh anything, ascending.
        weights_CM: of these members for each class; rows sum to 1. None where all are equal.
        losses: log loss of each method on held-out parts of the ground, where `auto` tried them.
        held_out: the ensemble on the ground, each fold with weights and a temperature from the
            others; its logits are the logarithms of the means, before that temperature.
    """

    method: Method
    members: tuple[int, ...]
    weights_CM: Floats | None
    losses: dict[Method, float]
    held_out: Predictions


def fold_numbers(
    index: Index, ids: Sequence[str], together: Sequence[frozenset[str]]
) -> NDArray[np.int64]:
    """The fold of each of these pictures; groups and copies share one, classes are spread.

    Args:
        index: pictures, those with these ids among them; its split says nothing here.
        together: sets of paths that show one picture.
    """
    from holotype.dataset.dealing import units_of
    from holotype.dataset.split import folds

    table = index.table[index.table["path"].isin(set(ids))].reset_index(drop=True)
    table["split"] = ""
    units = len(units_of(table, together, seed=0))
    if units < 2:
        return np.zeros(len(ids), np.int64)
    dealt = folds(
        replace(index, table=table), min(NUM_FOLDS, units), seed=0, together=together
    ).table
    fold_of = dict(zip(dealt["path"], dealt["fold"], strict=True))
    return np.array([fold_of[name] for name in ids], np.int64)


def fit(ground: Ground, method: Method | None) -> Fitted:
    """Weights by a method; by the one that does best on held-out pictures where it is None."""
    answers, probabilities_MNC = ground.answers, ground.probabilities_MNC
    targets_N, weights_N = answers.first.targets_N, answers.weights_N
    unit_N = answers.units.unit_N
    if method is None and len(targets_N) < FEWEST_IMAGES:
        method = "average"
    if method is None:
        choice = choose(probabilities_MNC, targets_N, weights_N, ground.fold_N, unit_N=unit_N)
    else:
        weights_MC = fit_weights(method, probabilities_MNC, targets_N, weights_N, unit_N)
        choice = Choice(method, weights_MC, {})
    members, weights_CM = _without_idle(choice)
    return Fitted(
        method=choice.method,
        members=members,
        weights_CM=weights_CM,
        losses=choice.losses,
        held_out=_held_out(ground, choice.method),
    )


def _without_idle(choice: Choice) -> tuple[tuple[int, ...], Floats | None]:
    """The members that weigh something, and their weights (C, M); None where all are equal."""
    if choice.method == "average":
        return tuple(range(len(choice.weights_MC))), None
    members = np.flatnonzero(choice.weights_MC.max(axis=1) >= SMALLEST_SHARE)
    weights_CM = choice.weights_MC[members].T
    return tuple(members.tolist()), weights_CM / weights_CM.sum(axis=1, keepdims=True)


def _held_out(ground: Ground, method: Method) -> Predictions:
    """What is said of each fold by weights and a temperature that the other folds alone decide."""
    pictures, probabilities_MNC = ground.answers.first, ground.probabilities_MNC
    unit_N = ground.answers.units.unit_N
    logits_NC = np.empty_like(pictures.logits_NC)
    cooled_NC = np.empty_like(pictures.probabilities_NC)
    for fold in np.unique(ground.fold_N):
        held = ground.fold_N == fold
        rest = held if held.all() else ~held
        weights_MC = fit_weights(
            method, probabilities_MNC[:, rest], pictures.targets_N[rest],
            pictures.weights_N[rest], unit_N[rest],
        )  # fmt: skip
        all_NC = _logarithm(combine(probabilities_MNC, weights_MC))
        others = replace(pictures, logits_NC=all_NC).select(rest)
        logits_NC[held] = all_NC[held]
        cooled_NC[held] = softmax(all_NC[held], fit_temperature(others))
    return replace(pictures, logits_NC=logits_NC, probabilities_NC=cooled_NC)


def _logarithm(probabilities_NC: Floats) -> NDArray[np.float32]:
    return np.asarray(np.log(np.maximum(probabilities_NC, _SMALLEST)), np.float32)
