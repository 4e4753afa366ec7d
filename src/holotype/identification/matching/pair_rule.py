"""From cosine and local agreement to the evidence that two images show one individual.

A logistic rule over four measures of a pair: the cosine of their embeddings, their correlation at
12 by 12 pixels, and correlation and largest difference after registration. It is fitted on pairs of
a gallery, whose individuals are known, with both kinds of pairs weighed alike: its logit is the
logarithm of how many times likelier such measures are for one individual than for two that look
alike.

Source:
    Cermak, Picek, Adam, Neumann and Matas 2024, "WildFusion: Individual Animal Identification with
    Calibrated Similarity Fusion": scores of unlike origin are fused after calibration.

Shape suffixes: N pairs, F measures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEASURES = ("cosine", "coarse_correlation", "correlation", "log_difference")
_RIDGE = 1.0  # on the weights of standardised measures, as scikit-learn's C = 1
_NEWTON_STEPS = 50
_LARGEST_SLOPE = 40.0  # of the assumed rule, per unit of cosine
_ASSUMED_DIFFERENT = (0.5, 0.15)  # mean and deviation of cosines, where a gallery has none


@dataclass(frozen=True)
class PairRule:
    """A logistic rule for pairs of images.

    Attributes:
        centre, scale: of each measure, before it is weighed.
        weights: of each measure.
        intercept: the logit where all measures are at their centre.
        usual: each measure of a pair of two individuals; stands for what was not measured.
        num_same, num_different: the pairs that it was fitted on; 0 where it was assumed.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    usual: tuple[float, ...]
    num_same: int = 0
    num_different: int = 0

    @property
    def is_fitted(self) -> bool:
        return self.num_same > 0

    @property
    def uses_registration(self) -> bool:
        """Whether more than the cosine counts; where nothing was fitted, it does not."""
        return any(weight != 0 for weight in self.weights[1:])

    def logits(self, measures_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """The evidence (N) for one individual; NaN measures count as usual for two."""
        known_NF = np.where(np.isnan(measures_NF), self.usual, measures_NF)
        centred_NF = (known_NF - np.array(self.centre)) / np.array(self.scale)
        return np.asarray(centred_NF @ np.array(self.weights) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "PairRule":
        if len(found["weights"]) != len(MEASURES):
            raise ValueError(f"{len(found['weights'])} weights for {len(MEASURES)} measures")
        arrays = {name: tuple(v) for name, v in found.items() if isinstance(v, list)}
        return cls(**{**found, **arrays})


def fit_pair_rule(measures_NF: NDArray[np.float64], same_N: NDArray[np.bool_]) -> PairRule:
    """Fit the rule on pairs of both kinds, each kind with half of the weight."""
    centre_F, scale_F = measures_NF.mean(0), np.maximum(measures_NF.std(0), 1e-6)
    weights_N = np.where(same_N, 0.5 / same_N.sum(), 0.5 / (~same_N).sum()) * len(same_N)
    weights_F, intercept = logistic_regression(
        (measures_NF - centre_F) / scale_F, same_N.astype(np.float64), weights_N
    )
    return PairRule(
        tuple(map(float, centre_F)),
        tuple(map(float, scale_F)),
        tuple(map(float, weights_F)),
        intercept,
        tuple(map(float, np.median(measures_NF[~same_N], axis=0))),
        int(same_N.sum()),
        int((~same_N).sum()),
    )


def assumed_pair_rule(different_cosines_N: NDArray[np.floating[Any]]) -> PairRule:
    """A rule on the cosine alone, for a gallery that has too few pairs of one individual.

    Cosines of two individuals are taken as normal, as they are found; those of one individual with
    the same spread, half way between their mean and 1.
    """
    mean, deviation = _ASSUMED_DIFFERENT
    if len(different_cosines_N) > 1:
        mean, deviation = float(different_cosines_N.mean()), float(different_cosines_N.std())
    same_mean = (1 + mean) / 2
    slope = min(_LARGEST_SLOPE, (same_mean - mean) / max(deviation, 1e-3) ** 2)
    middle = (mean + same_mean) / 2
    others = (0.0,) * (len(MEASURES) - 1)
    ones = (1.0,) * len(MEASURES)
    return PairRule((middle, *others), ones, (slope, *others), 0.0, (mean, *others))


def logistic_regression(
    features_NF: NDArray[np.float64], is_true_N: NDArray[np.float64], weights_N: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weights (F) and intercept, by Newton's method with a ridge on the weights.

    Written here since scikit-learn takes seconds to load, which every `add` would wait for; the
    tests compare the two.
    """
    design = np.column_stack([features_NF, np.ones(len(features_NF))])
    ridge = np.diag([_RIDGE] * features_NF.shape[1] + [1e-9])
    found = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability_N = sigmoid(design @ found)
        slope = design.T @ (weights_N * (is_true_N - probability_N)) - ridge @ found
        spread_N = weights_N * probability_N * (1 - probability_N)
        step = np.linalg.solve((design * spread_N[:, None]).T @ design + ridge, slope)
        found = found + step * min(1.0, 4 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return found[:-1], float(found[-1])


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logit)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
