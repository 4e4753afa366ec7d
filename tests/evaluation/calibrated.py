"""Prediction sets that are calibrated as a bundle is, in one step."""

from holotype.evaluation.conformal import (
    DEFAULT_METHOD,
    ConformalPredictor,
    Method,
    conformal_calibration,
    conformal_predictor,
)
from holotype.predictions import Predictions


def calibrate(
    predictions: Predictions,
    coverage: float,
    *,
    method: Method = DEFAULT_METHOD,
    class_conditional: bool = False,
) -> ConformalPredictor:
    found = conformal_calibration(predictions, "cal")
    assert found is not None
    calibration_set, scores = found
    return conformal_predictor(
        scores, coverage, num_classes=len(predictions.classes), calibration_set=calibration_set,
        method=method, class_conditional=class_conditional,
    )  # fmt: skip
