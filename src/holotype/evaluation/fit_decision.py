"""Fit temperature, prediction sets and test-time views on validation or out-of-fold predictions.

Shape suffixes: N images, G units (images or groups).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.manifest import CalibrationSource, Decision
from holotype.bundle.views import VIEWS, ViewSet
from holotype.errors import DatasetError
from holotype.evaluation import metrics
from holotype.evaluation.calibration import MIN_IMAGES, fit_temperature
from holotype.evaluation.conformal import conformal_calibration
from holotype.evaluation.intervals import SamplingUnits
from holotype.predictions import Predictions, softmax


def fit_decision(predictions: Predictions, *, views: ViewSet = "one") -> Decision:
    """The decision with the temperature that suits these predictions.

    Args:
        predictions: of images that trained nothing; never of the test part.
        views: the set of views that the predictions are the mean of.
    """
    labelled = predictions.labelled()
    return Decision(
        temperature=fit_temperature(labelled),
        predictions_sha256=labelled.digest(),
        num_images=len(labelled.scorable()),  # those of weight 0 do not move it
        views=views,
    )


def with_prediction_sets(
    decision: Decision, predictions: Predictions, source: CalibrationSource
) -> tuple[Decision, ConformalScores | None]:
    """The decision with the calibration of prediction sets, and the scores to seal beside it.

    Args:
        decision: with the temperature to seal.
        predictions: under its views, of images that neither trained nor chose anything. Out of
            fold each is by the member that was not trained on the image; the mean of the members
            is a little more confident, and coverage is observed but not guaranteed
            (cross-conformal prediction: Vovk 2015).
        source: which of the two they are.
    """
    probabilities_NC = softmax(predictions.logits_NC, decision.temperature)
    found = conformal_calibration(replace(predictions, probabilities_NC=probabilities_NC), source)
    if found is None:
        return decision, None
    return replace(decision, calibration_set=found[0]), found[1]


def choose_views(candidates: Mapping[ViewSet, Predictions]) -> ViewSet:
    """The fewest views whose log loss is within one standard error of the lowest.

    Each set has its own temperature, and the standard error is that of the paired difference to the
    best set, over images or groups. With fewer than ten labelled images the smallest set is taken.

    Args:
        candidates: for each set of views, predictions of the same images, which trained
            nothing and are not the test part.

    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3 (the rule of
        one standard error).
    """
    by_size = sorted(candidates, key=lambda views: len(VIEWS[views]))
    labelled = {views: candidates[views].scorable() for views in by_size}
    first = labelled[by_size[0]]
    if any(other.ids != first.ids for other in labelled.values()):
        raise DatasetError("the predictions under different views are not of the same images")
    if len(first) < MIN_IMAGES:
        return by_size[0]
    losses = {views: _losses_N(_calibrated(labelled[views])) for views in by_size}
    weights_N = first.weights_N / first.weights_N.sum()
    best = min(by_size, key=lambda views: float(weights_N @ losses[views]))
    for views in by_size:
        worse_N = losses[views] - losses[best]
        if weights_N @ worse_N <= _standard_error(worse_N, weights_N, SamplingUnits.of(first)):
            return views
    return best


@dataclass(frozen=True)
class TTAEffect:
    """The effect of test-time augmentation on validation, and its cost.

    Attributes:
        views: the set that is sealed.
        num_passes: of the network for each image; 1 without views.
        num_images: the number of labelled images.
        log_loss, accuracy: without and with the views, each at its own temperature.
    """

    views: ViewSet
    num_passes: int
    num_images: int
    log_loss: tuple[float, float]
    accuracy: tuple[float, float]

    def note(self) -> str:
        """One sentence for the report."""
        (loss_one, loss), (accuracy_one, accuracy) = self.log_loss, self.accuracy
        return (
            f"Test-time augmentation: {self.views}, {self.num_passes} views of each image, so a "
            f"prediction takes up to {self.num_passes} times as long. On {self.num_images:,} "
            f"validation images the log loss is {loss:.3f} instead of {loss_one:.3f} with one "
            f"view, the accuracy {accuracy:.1%} instead of {accuracy_one:.1%}."
        )


def tta_effect(views: ViewSet, one: Predictions, averaged: Predictions) -> TTAEffect:
    """Compare predictions of the same images with one view and averaged over views."""
    without, with_views = (_calibrated(each.scorable()) for each in (one, averaged))
    return TTAEffect(
        views=views,
        num_passes=len(VIEWS[views]),
        num_images=len(with_views),
        log_loss=(float(metrics.log_loss(without)), float(metrics.log_loss(with_views))),
        accuracy=(
            float(metrics.confusion_counts(without).accuracy),
            float(metrics.confusion_counts(with_views).accuracy),
        ),
    )


def _calibrated(predictions: Predictions) -> Predictions:
    temperature = fit_temperature(predictions)
    return replace(predictions, probabilities_NC=softmax(predictions.logits_NC, temperature))


def _losses_N(predictions: Predictions) -> NDArray[np.float64]:
    rows = np.arange(len(predictions))
    return -np.log(np.maximum(predictions.probabilities_NC[rows, predictions.targets_N], 1e-12))


def _standard_error(
    values_N: NDArray[np.float64], weights_N: NDArray[np.float64], units: SamplingUnits
) -> float:
    """The standard error of a weighted mean over independent units; the weights sum to 1."""
    excess_N = weights_N * (values_N - weights_N @ values_N)
    excess_G = np.bincount(units.unit_N, excess_N, minlength=units.count)
    correction = units.count / max(1, units.count - 1)
    return float(np.sqrt(correction * (excess_G**2).sum()))
