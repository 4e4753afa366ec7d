"""The effect of class weights and balanced sampling on the scores of a report.

Shape suffixes: N images, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.bootstrap import paired_scores
from holotype.comparison.significance import difference_interval
from holotype.evaluation.class_weight_effect import (
    ClassWeightingEffect,
    Score,
    class_weighting_effect,
    undo_class_weighting,
)
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import Report
from holotype.predictions import Predictions


def measure_class_weighting(
    report: Report, predictions: Predictions, weights: NDArray[np.float64] | None
) -> ClassWeightingEffect | None:
    """The report beside that of the same answers without the weighting; None where none was.

    Args:
        report: on `predictions`.
        weights: (C) of the classes, or (N, C) where images were judged by different trainings.
    """
    if weights is None:
        return None
    without = undo_class_weighting(predictions, weights)
    return class_weighting_effect(
        report, predictions, without, weights_C=np.atleast_2d(weights).mean(axis=0),
        differences=_differences(predictions, without, report.part),
    )  # fmt: skip


def _differences(weighted: Predictions, without: Predictions, part: str) -> dict[Score, Estimate]:
    """Accuracy and balanced accuracy, with the weighting minus without."""
    answers = align_predictions({"weighted": weighted, "without": without}, part)
    correct_MN = answers.correct_MN.astype(np.float64)
    gain_N = correct_MN[0] - correct_MN[1]
    accuracy = difference_interval(gain_N, answers.weights_N, answers.units)
    balanced = paired_scores(answers)["balanced_accuracy"]
    # One of them is the best, and has no difference.
    to_weighed, to_without = balanced.difference_to_best
    if to_weighed is not None:
        ends = (to_weighed.value, to_weighed.low, to_weighed.high)
    else:
        assert to_without is not None
        ends = (-to_without.value, _negate(to_without.high), _negate(to_without.low))
    return {
        "accuracy": Estimate(*accuracy, f"paired over {answers.units.count} {answers.units.noun}"),
        "balanced_accuracy": Estimate(*ends, balanced.method),
    }


def _negate(number: float | None) -> float | None:
    return None if number is None else -number


def class_weights_of_folds(bundle: Bundle, pooled: Predictions) -> NDArray[np.float64] | None:
    """For every image the class weights (N, C) of the member that judged it.

    Args:
        bundle: of the folds as members.
        pooled: the predictions of each member on its own fold.

    Returns:
        None where no member was trained with class weights.
    """
    found = [class_weights(member) for member in bundle.members]
    if all(weights_C is None for weights_C in found):
        return None
    ones_C = np.ones(len(bundle.classes))
    weights_FC = np.array([ones_C if weights_C is None else weights_C for weights_C in found])
    return np.asarray(weights_FC[pooled.folds_N])


def class_weights(bundle: Bundle) -> NDArray[np.float64] | None:
    """The class weights (C) of the training.

    Returns:
        None where there were none, and for a bundle of members: it answers with a mean, from
        which the weights of each cannot be divided out.
    """
    weights = bundle.manifest.class_weights
    return None if bundle.members or weights is None else np.array(weights)
