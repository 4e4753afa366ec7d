"""Paired bootstrap: scores other than accuracy, of each classifier minus the best.

All classifiers are resampled together, so that images that are hard for all do not widen the
interval of a difference.

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
    """A score to compare classifiers by.

    Attributes:
        title: as tables name it.
        measure: predictions and weights (N,) or (N, R) -> () or (R,).
        lower_is_better: whether lower values are better.
        uses_predicted_class: whether it depends on the predicted classes alone, not on
            probabilities.
    """

    title: str
    measure: Callable[[Predictions, Floats], Floats]
    lower_is_better: bool = False
    uses_predicted_class: bool = True


ACCURACY = "accuracy"  # compared by the tests of `significance`, not by resampling
METRICS: dict[str, Metric] = {
    "balanced_accuracy": Metric(
        "Balanced accuracy", lambda p, w: metrics.confusion_counts(p, w).balanced_accuracy
    ),
    "macro_precision": Metric(
        "Macro precision", lambda p, w: metrics.confusion_counts(p, w).macro_precision
    ),
    "weighted_precision": Metric(
        "Weighted precision", lambda p, w: metrics.confusion_counts(p, w).weighted_precision
    ),
    "macro_f1": Metric("Macro F1", lambda p, w: metrics.confusion_counts(p, w).macro_f1),
    "log_loss": Metric(
        "Log loss", metrics.log_loss, lower_is_better=True, uses_predicted_class=False
    ),
}


@dataclass(frozen=True)
class ScoreDifference:
    """A score minus that of the best, with its 95 % interval; None where it is unknown."""

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
        best: the number of the best classifier; None where no value is known.
        difference_to_best: each minus the best; None for the best itself and without a value.
        method: how the intervals were made, for a reader.
    """

    values: tuple[float | None, ...]
    best: int | None
    difference_to_best: tuple[ScoreDifference | None, ...]
    method: str


def paired_scores(aligned: AlignedPredictions) -> dict[str, MetricComparison]:
    """Every score of `METRICS`, and its difference from the best classifier.

    Intervals come from the variance of the difference over resamples of the images or groups; with
    fewer than 30 groups by the jackknife. They are not corrected for multiple comparisons, nor for
    the choice of the best on the same images.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", sections 8.2 and 11.
    """
    units = aligned.units
    if units.few_groups:
        resamples = [jackknife_weights(aligned.weights_N, units)]
    else:
        resamples = list(bootstrap_weights(aligned.weights_N, units, seed=0))
    return {name: _scores(metric, aligned, resamples) for name, metric in METRICS.items()}


def _scores(
    metric: Metric, aligned: AlignedPredictions, resamples: list[Floats]
) -> MetricComparison:
    weights_N, units = aligned.weights_N, aligned.units
    value_M = np.array([float(metric.measure(p, weights_N)) for p in aligned.predictions])
    method = (
        f"jackknife over {units.count} groups"
        if units.few_groups
        else f"paired bootstrap over {units.count} {units.noun}"
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
    # As in `significance.difference_interval`, for classifiers that never disagree.
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
