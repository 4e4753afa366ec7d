"""Scores that are no shares of images, side by side: each minus the best, with its interval.

All classifiers are resampled together: an image that is drawn is drawn for all of them, so what is
hard for all leaves the difference alone.

Shape suffixes: N images, M classifiers, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.aligned_predictions import AlignedPredictions
from holotype.evaluation import metrics
from holotype.evaluation.intervals import (
    bootstrap_variance,
    bootstrap_weights,
    jackknife_variance,
    jackknife_weights,
    t_quantile,
)
from holotype.predictions import Predictions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A score that can be compared.

    Attributes:
        title: for a reader.
        measure: predictions and weights (N,) or (N, R) -> () or (R,).
        lower_is_better: whether less is better.
        uses_predicted_class: whether it rests on the named classes alone, not on probabilities.
    """

    title: str
    measure: Callable[[Predictions, Floats], Floats]
    lower_is_better: bool = False
    uses_predicted_class: bool = True


METRICS: dict[str, Metric] = {
    "balanced_accuracy": Metric("Balanced accuracy", metrics.balanced_accuracy),
    "macro_f1": Metric("Macro F1", lambda p, w: metrics.confusion_counts(p, w).macro_f1),
    "log_loss": Metric(
        "Log loss", metrics.log_loss, lower_is_better=True, uses_predicted_class=False
    ),
}


@dataclass(frozen=True)
class ScoreDifference:
    """A score minus that of the best, with its 95 % interval; low and high may be unknown."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:+.3f}"
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class MetricComparison:
    """One score of all classifiers.

    Attributes:
        values: of each; None where it is 0/0.
        best: the number of the best; None where no score is known.
        difference_to_best: each minus the best; None for the best itself and where a score is
            unknown.
        method: how the intervals were made, in words.
    """

    values: tuple[float | None, ...]
    best: int | None
    difference_to_best: tuple[ScoreDifference | None, ...]
    method: str


def paired_scores(aligned: AlignedPredictions, *, seed: int = 0) -> dict[str, MetricComparison]:
    """Every score of `METRICS`, and how far each classifier is from the best.

    Intervals are those of the difference, from its variance over resamples of the images, or of
    the groups; below 30 groups from the sets without one group each. Each is a 95 % interval on its
    own, not corrected for how many there are, and the best is the best of these very images.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", sections 8.2 and 11.
    """
    units = aligned.units
    if units.few_groups:
        resamples = [jackknife_weights(aligned.weights_N, units)]
    else:
        resamples = list(bootstrap_weights(aligned.weights_N, units, seed))
    return {name: _scores(metric, aligned, resamples) for name, metric in METRICS.items()}


def _scores(
    metric: Metric, aligned: AlignedPredictions, resamples: list[Floats]
) -> MetricComparison:
    weights_N, units = aligned.weights_N, aligned.units
    value_M = np.array([float(metric.measure(p, weights_N)) for p in aligned.predictions])
    method = (
        f"jackknife over {units.count} groups"
        if units.few_groups
        else f"paired bootstrap over {units.count} {'groups' if units.grouped else 'images'}"
    )
    values = tuple(float(value) if np.isfinite(value) else None for value in value_M)
    if not np.isfinite(value_M).any():
        return MetricComparison(values, None, (None,) * len(values), method)
    best = int(np.nanargmin(value_M) if metric.lower_is_better else np.nanargmax(value_M))
    drawn_MR = np.stack(
        [
            np.concatenate([np.atleast_1d(metric.measure(p, w_NR)) for w_NR in resamples])
            for p in aligned.predictions
        ]
    )
    images = float(weights_N.sum() ** 2 / (weights_N @ weights_N))
    # As in `paired.difference_interval`: classifiers that name the same classes here may not
    # elsewhere.
    smallest = 1 / (images + 2) ** 2 if metric.uses_predicted_class else 0.0
    difference_to_best: list[ScoreDifference | None] = []
    for number, value in enumerate(value_M):
        if number == best or not np.isfinite(value):
            difference_to_best.append(None)
            continue
        difference, drawn_R = float(value - value_M[best]), drawn_MR[number] - drawn_MR[best]
        among = (
            jackknife_variance(difference, drawn_R)
            if units.few_groups
            else bootstrap_variance(drawn_R, units.count)
        )
        if units.count < 2 or not np.isfinite(among):
            difference_to_best.append(ScoreDifference(difference, None, None))
            continue
        half = t_quantile(units.count - 1) * float(np.sqrt(among + smallest))
        difference_to_best.append(ScoreDifference(difference, difference - half, difference + half))
    return MetricComparison(values, best, tuple(difference_to_best), method)
