"""Simulated test sets whose true accuracy is known."""

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import SamplingUnits, proportion


def coverage(
    num_images: int, accuracy: float, *, num_sets: int, seed: int, weights: str = "equal"
) -> float:
    """How often the interval of independent images holds the truth.

    With weights `confident` those of ELPV: one image in four is unsure, weighs 1/3 or 2/3 and
    is harder, so that weight and success go together. With `balancing` a tenth of the images
    weighs nine times as much and is harder.
    """
    rng = np.random.default_rng(seed)
    units, held = SamplingUnits.images(num_images), 0
    for _ in range(num_sets):
        if weights == "equal":
            weights_N, chance_N = np.ones(num_images), np.full(num_images, accuracy)
            truth = accuracy
        elif weights == "confident":
            values, shares = np.array([1 / 3, 2 / 3, 1.0]), np.array([0.15, 0.1, 0.75])
            odds = accuracy / (1 - accuracy) / np.array([8, 4, 1])
            drawn_N = rng.choice(3, num_images, p=shares)
            weights_N, chance_N = values[drawn_N], (odds / (1 + odds))[drawn_N]
            truth = float((shares * values * odds / (1 + odds)).sum() / (shares * values).sum())
        else:
            rare_N = rng.random(num_images) < 0.1
            weights_N = np.where(rare_N, 9.0, 1.0)
            chance_N = np.where(rare_N, 1 - 1.5 * (1 - accuracy), 1 - 0.5 * (1 - accuracy))
            truth = accuracy
        held += _holds(truth, rng.random(num_images) < chance_N, weights_N, units)
    return held / num_sets


def coverage_in_groups(
    num_images: int,
    accuracy: float,
    num_groups: int,
    *,
    correlation: float,
    num_sets: int,
    seed: int,
    unequal: bool = False,
) -> float:
    """How often the interval of images in groups holds the truth.

    Every group has its own chance of success, beta distributed about the accuracy, so that two
    images of a group are correlated; groups are of equal size, or of very unequal ones.
    """
    rng = np.random.default_rng(seed)
    strength, held = 1 / correlation - 1, 0
    for _ in range(num_sets):
        chance_G = rng.beta(accuracy * strength, (1 - accuracy) * strength, num_groups)
        if unequal:
            share_G = rng.dirichlet(np.ones(num_groups))
            size_G = 1 + rng.multinomial(num_images - num_groups, share_G)
            unit_N = np.repeat(np.arange(num_groups), size_G)
        else:
            unit_N = np.arange(num_images) % num_groups
        units = SamplingUnits(unit_N, num_groups, grouped=True)
        right_N = rng.random(num_images) < chance_G[unit_N]
        held += _holds(accuracy, right_N, np.ones(num_images), units)
    return held / num_sets


def _holds(
    truth: float, right_N: NDArray[np.bool_], weights_N: NDArray[np.float64], units: SamplingUnits
) -> bool:
    estimate = proportion(right_N, weights_N, units)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.high > estimate.low
    return estimate.low <= truth <= estimate.high
