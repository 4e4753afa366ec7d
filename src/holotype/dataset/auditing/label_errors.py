"""Find probable label errors and estimate their rate, by confident learning.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", as implemented by cleanlab. All probabilities must be out of fold.

Shape suffixes: N images, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of the interval of the noise rate
_RESAMPLES = 200

Floats = NDArray[np.float64]
Targets = NDArray[np.int64]


@dataclass(frozen=True)
class SuspectedLabelError:
    """A label that is probably wrong.

    Attributes:
        path: of the image.
        given: its label.
        suggested: the most probable class.
        probability_given, probability_suggested: of the two classes, in [0, 1].
        weight: of the image; below 1 if its label is marked as uncertain.
    """

    path: str
    given: str
    suggested: str
    probability_given: float
    probability_suggested: float
    weight: float

    @property
    def evidence(self) -> str:
        unsure = f"; its weight is {self.weight:.2g}" if self.weight < 1 else ""
        return (
            f"labelled {self.given!r}; out-of-fold probabilities: {self.suggested!r} "
            f"{self.probability_suggested:.0%}, {self.given!r} {self.probability_given:.1%}{unsure}"
        )


@dataclass(frozen=True)
class NoiseRate:
    """The estimated share of wrong labels, a fraction in [0, 1].

    Attributes:
        value: the mean of the two estimates of `noise_rate_bounds`.
        low, high: a 95 % interval; see `noise_rate`.
        num_images: with a weight above 0.
    """

    value: float
    low: float
    high: float
    num_images: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def beats_class_prior(probabilities_NC: Floats, targets_N: Targets, weights_N: Floats) -> bool:
    """Whether the probabilities predict the labels better than the class frequencies do.

    If not, they are no evidence against a label. The mean gain in log likelihood over the
    frequencies must exceed three standard errors.
    """
    if weights_N.sum() <= 0:
        return False
    share_C = np.bincount(targets_N, weights_N, minlength=probabilities_NC.shape[1])
    share_C = share_C / share_C.sum()
    given_N = probabilities_NC[np.arange(len(targets_N)), targets_N]
    # Clipped, so that a few confident errors cannot dominate the mean.
    gain_N = np.log(np.maximum(given_N, 1e-3)) - np.log(np.maximum(share_C[targets_N], 1e-12))
    mean = float(np.average(gain_N, weights=weights_N))
    error = math.sqrt(float(weights_N**2 @ (gain_N - mean) ** 2)) / float(weights_N.sum())
    return mean > 3 * error


def find_label_errors(
    probabilities_NC: Floats,
    targets_N: Targets,
    *,
    paths: Sequence[str],
    classes: Sequence[str],
    weights_N: Floats,
) -> list[SuspectedLabelError]:
    """The probable label errors, those of the lowest given probability first.

    Their number is the off-diagonal count of the confident joint; taken are the labels of the
    lowest probability whose most probable class is another (cleanlab's `low_self_confidence`).

    Args:
        probabilities_NC: rows sum to 1 and are finite.
        targets_N: the given labels, as positions in `classes`.
        weights_N: only copied to the result.
    """
    from cleanlab.filter import find_label_issues

    if len(targets_N) == 0:
        return []
    is_issue_N = find_label_issues(
        targets_N, probabilities_NC, filter_by="low_self_confidence", n_jobs=1
    )
    given_N = probabilities_NC[np.arange(len(targets_N)), targets_N]
    suggested_N = probabilities_NC.argmax(axis=1)
    rows = sorted(np.flatnonzero(is_issue_N).tolist(), key=lambda n: (given_N[n], paths[n]))
    return [
        SuspectedLabelError(
            path=paths[n],
            given=classes[targets_N[n]],
            suggested=classes[suggested_N[n]],
            probability_given=float(given_N[n]),
            probability_suggested=float(probabilities_NC[n, suggested_N[n]]),
            weight=float(weights_N[n]),
        )
        for n in rows
    ]


def noise_rate(
    probabilities_NC: Floats,
    targets_N: Targets,
    weights_N: Floats,
    atomic_groups: Sequence[str],
    *,
    seed: int = 0,
) -> NoiseRate | None:
    """The share of wrong labels with an interval; None without images of two classes.

    Of the two estimates (`noise_rate_bounds`) one tends to be too low, the other too high. The
    interval reaches from the 2.5th percentile of the lower to the 97.5th of the higher, over
    bootstrap samples of whole atomic groups. Its upper end is never below the exact limit for no
    error among as many atomic groups (Clopper and Pearson 1934). Where classes overlap, ambiguous
    images count as wrong.

    Args:
        weights_N: of the images, such as 0.5 for an uncertain label.
        atomic_groups: the name of each image's atomic group, which is resampled as a whole; "" for
            an image of its own.
    """
    counted = weights_N > 0
    if len(np.unique(targets_N[counted])) < 2:
        return None
    probabilities_NC, targets_N = probabilities_NC[counted], targets_N[counted]
    names = [group or f"\0{n}" for n, group in enumerate(atomic_groups)]
    _, group_N = np.unique(np.array(names)[counted], return_inverse=True)
    rng = np.random.default_rng(seed)
    num_groups = int(group_N.max()) + 1
    draws = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=_RESAMPLES)
    counts = [noise_rate_bounds(probabilities_NC, targets_N, weights_N[counted])]
    counts += [
        noise_rate_bounds(probabilities_NC, targets_N, weights_N[counted] * draw[group_N])
        for draw in draws
    ]
    lower, upper = np.array(counts).T
    tail = (1 - CONFIDENCE) / 2
    value = float(lower[0] + upper[0]) / 2
    group_weights = np.bincount(group_N, weights_N[counted])
    effective_groups = float(group_weights.sum() ** 2 / (group_weights**2).sum())
    unseen = 1 - tail ** (1 / effective_groups)
    return NoiseRate(
        value=value,
        low=min(value, float(np.quantile(lower[1:], tail))),
        high=max(value, float(np.quantile(upper[1:], 1 - tail)), unseen),
        num_images=len(targets_N),
    )


def noise_rate_bounds(
    probabilities_NC: Floats, targets_N: Targets, weights_N: Floats
) -> tuple[float, float]:
    """The share of wrong labels by the confident joint: (not calibrated, calibrated).

    An image is confidently of class j if j's probability reaches the mean probability of j over
    images labelled j; of several such classes, of the most probable. The lower estimate counts
    images that are confidently of another class than their label, unless that label is still the
    most probable. The upper one scales the counts of each label to all images that have it. With
    equal weights these are cleanlab's `off_diagonal` and `off_diagonal_calibrated`, unrounded.
    """
    num_images, num_classes = probabilities_NC.shape
    given_NC = np.zeros((num_images, num_classes))
    given_NC[np.arange(num_images), targets_N] = weights_N
    weight_C = given_NC.sum(axis=0)
    own_C = (given_NC * probabilities_NC).sum(axis=0)
    # No image is confidently of a class without labels.
    threshold_C = np.where(weight_C > 0, own_C / np.maximum(weight_C, 1e-300), np.inf)
    reached_NC = probabilities_NC >= threshold_C - 1e-6
    confident_N = reached_NC.any(axis=1)
    called_N = np.where(reached_NC, probabilities_NC, -1.0).argmax(axis=1)
    is_wrong_N = confident_N & (called_N != targets_N)
    lower = weights_N[is_wrong_N & (probabilities_NC.argmax(axis=1) != targets_N)].sum()
    joint_CC = np.zeros((num_classes, num_classes))
    np.add.at(joint_CC, (targets_N[confident_N], called_N[confident_N]), weights_N[confident_N])
    right_C, all_C = np.diagonal(joint_CC), joint_CC.sum(axis=1)
    # A class without confident images counts as labelled correctly.
    share_right_C = np.where(all_C > 0, right_C / np.maximum(all_C, 1e-300), 1.0)
    total = weight_C.sum()
    return float(lower / total), float(1 - (weight_C @ share_right_C) / total)
