"""What class weights or balanced sampling did to the answers that a report is about.

Shape suffixes: N images, C classes.
"""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.comparison.aligned_predictions import AlignedPredictions, align_predictions
from holotype.comparison.bootstrap import paired_scores
from holotype.comparison.significance import difference_interval
from holotype.evaluation.class_weight_effect import (
    ClassWeightingEffect,
    Score,
    class_weighting_effect,
    recorded_class_weights,
    undo_class_weighting,
)
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import Report
from holotype.predictions import Predictions
from holotype.run_directory import RunDirectory


def measure_class_weighting(
    report: "Report", predictions: "Predictions", weights: "NDArray[np.float64] | None"
) -> "ClassWeightingEffect | None":
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


def _differences(
    weighted: "Predictions", without: "Predictions", part: str
) -> "dict[Score, Estimate]":
    """Accuracy and balanced accuracy, with the weighting minus without."""
    answers = align_predictions({"weighted": weighted, "without": without}, part)
    correct_MN = answers.correct_MN.astype(np.float64)
    gain_N = correct_MN[0] - correct_MN[1]
    accuracy = difference_interval(gain_N, answers.weights_N, answers.units)
    balanced = paired_scores(answers)["balanced_accuracy"]
    to_weighed, to_without = (
        balanced.difference_to_best
    )  # one of them is the best, and has no difference
    if to_weighed is not None:
        ends = (to_weighed.value, to_weighed.low, to_weighed.high)
    else:
        assert to_without is not None
        ends = (-to_without.value, _negate(to_without.high), _negate(to_without.low))
    return {
        "accuracy": Estimate(*accuracy, f"paired over {answers.units.count} {_units(answers)}"),
        "balanced_accuracy": Estimate(*ends, balanced.method),
    }


def _negate(number: float | None) -> float | None:
    return None if number is None else -number


def _units(answers: "AlignedPredictions") -> str:
    return "groups" if answers.units.grouped else "images"


def class_weights_of_folds(
    runs: "Sequence[RunDirectory]", pooled: "Predictions"
) -> "NDArray[np.float64] | None":
    """For every image the class weights (N, C) of the training that judged it.

    Args:
        runs: of the folds, finished.
        pooled: what each said of its own fold.

    Returns:
        None where no fold weighed its classes.
    """
    found = [_read_class_weights(run) for run in runs]
    if not any(found):
        return None
    weights_FC = np.array([[(of or {}).get(name, 1.0) for name in pooled.classes] for of in found])
    return weights_FC[pooled.folds_N]


def class_weights_of_run(run: "RunDirectory", bundle: "Bundle") -> "NDArray[np.float64] | None":
    """The class weights (C) that a finished run says it was trained with.

    Returns:
        None where there were none, and for a bundle of members: it answers with a mean, out of
        which the weights of each cannot be taken.
    """
    found = None if bundle.members else _read_class_weights(run)
    return None if found is None else np.array([found[name] for name in bundle.classes])


def _read_class_weights(run: "RunDirectory") -> dict[str, float] | None:
    file = run.report / "metrics.json"
    return recorded_class_weights(json.loads(file.read_text("utf-8"))) if file.is_file() else None
