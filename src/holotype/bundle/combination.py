"""The members of an ensemble, combined: the weighted mean of their probabilities.

Shape suffixes: N images, C classes, M members.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENSEMBLE_WEIGHTS = "ensemble_weights.json"
FORMAT_VERSION = 1
MAX_MEMBERS = 100


@dataclass(frozen=True)
class EnsembleWeights:
    """The weight of each member.

    Attributes:
        num_members: M.
        weights_CM: for every class the weight of each member, at least 0 with a sum of 1; None
            for equal weights.
    """

    num_members: int
    weights_CM: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.num_members <= MAX_MEMBERS:
            raise ValueError(f"{self.num_members} members, expected 1 to {MAX_MEMBERS}")
        for weights_M in self.weights_CM or ():
            if len(weights_M) != self.num_members:
                raise ValueError(f"{len(weights_M)} weights for {self.num_members} members")
            if not all(math.isfinite(weight) and weight >= 0 for weight in weights_M):
                raise ValueError("the weights must be finite and at least 0")
            if abs(sum(weights_M) - 1) > 1e-6:
                raise ValueError(f"the weights of a class sum to {sum(weights_M):g}, expected 1")

    @classmethod
    def of(cls, weights_CM: NDArray[np.float64]) -> "EnsembleWeights":
        """From any weights that are at least 0; those of each class are divided by their sum."""
        sums_C1 = weights_CM.sum(axis=1, keepdims=True)
        if not (np.isfinite(sums_C1).all() and (sums_C1 > 0).all()):
            raise ValueError("every class needs a member with a weight above 0")
        rows = (weights_CM / sums_C1).tolist()
        return cls(weights_CM.shape[1], tuple(tuple(row) for row in rows))

    def weights_for(self, num_classes: int) -> NDArray[np.float64]:
        """The weights (C, M), equal ones written out."""
        if self.weights_CM is None:
            return np.full((num_classes, self.num_members), 1 / self.num_members)
        return np.array(self.weights_CM, np.float64)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        value = {
            "format_version": FORMAT_VERSION,
            "num_members": self.num_members,
            "weights": self.weights_CM,
        }
        return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def read_ensemble_weights(content: bytes, num_classes: int) -> EnsembleWeights:
    """Weights from untrusted bytes.

    Raises:
        ValueError: with what is wrong.
    """
    value: Any = json.loads(content)
    expected = {"format_version", "num_members", "weights"}
    if not isinstance(value, dict) or set(value) != expected:
        raise ValueError(f"expected an object with {', '.join(sorted(expected))}")
    if value["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format_version is {value['format_version']!r:.40}, expected 1")
    count, weights = value["num_members"], value["weights"]
    if not isinstance(count, int) or isinstance(count, bool):
        raise ValueError(f"num_members is {count!r:.40}, expected a whole number")
    if weights is None:
        return EnsembleWeights(count)
    if not (isinstance(weights, list) and len(weights) == num_classes):
        raise ValueError(f"weights must be null, or a list for each of the {num_classes} classes")
    for row in weights:
        if not isinstance(row, list) or any(
            not isinstance(weight, int | float) or isinstance(weight, bool) for weight in row
        ):
            raise ValueError("weights must be lists of numbers")
    return EnsembleWeights(count, tuple(tuple(float(weight) for weight in row) for row in weights))


def log_mean_probability(
    log_probabilities: Sequence[NDArray[np.float64]],
    weights_CM: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """log of the weighted mean of probabilities (N, C), normalised over the classes.

    Computed in logarithms, so that a probability of e^-1000 does not round to 0.

    Args:
        log_probabilities: M arrays (N, C), each normalised.
        weights_CM: rows sum to 1; equal unless given.
    """
    if weights_CM is None:
        stacked_MNC = np.stack(log_probabilities)
        mean_NC = _logsumexp(stacked_MNC, axis=0) - math.log(len(log_probabilities))
    else:
        with np.errstate(divide="ignore"):  # the logarithm of a weight of 0 is -inf
            log_weights_M1C = np.log(weights_CM.T[:, None, :])
        mean_NC = _logsumexp(np.stack(log_probabilities) + log_weights_M1C, axis=0)
    normalised_NC = mean_NC - _logsumexp(mean_NC, axis=1)[:, None]
    return np.asarray(normalised_NC, np.float32)


def log_softmax(logits_NC: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """The logarithm of `predictions.softmax`, exact where a probability rounds to 0."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    return np.asarray(scaled_NC - _logsumexp(scaled_NC, axis=1)[:, None])


def _logsumexp(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    largest = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - largest).sum(axis=axis, keepdims=True)) + largest
    return np.asarray(np.squeeze(total, axis=axis))
