"""The effect of class weighting: the same predictions with the weighting removed.

Shape suffixes: N images, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.build_report import build_report
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import Report
from holotype.predictions import Predictions

Score = Literal["accuracy", "balanced_accuracy"]
COMPARED_SCORES: tuple[Score, ...] = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True, eq=False)
class ClassWeightingEffect:
    """Scores with and without the weighting.

    Attributes:
        weights_C: of an image of each class in training, relative to no weighting.
        with_weighting: the scores of the classifier.
        without_weighting: the scores of the same predictions without the weighting.
        num_changed: images whose predicted class changes.
        differences: accuracy and balanced accuracy, with minus without, with paired intervals.
    """

    weights_C: NDArray[np.float64]
    with_weighting: Report
    without_weighting: Report
    num_changed: int
    differences: Mapping[Score, Estimate]

    def to_json(self) -> dict[str, Any]:
        """As metrics.json holds it, beside the scores with the weighting."""
        rows = zip(self.without_weighting.per_class, self.weights_C.tolist(), strict=True)
        return {
            "num_changed": self.num_changed,
            "per_class": {
                scores.name: {
                    "weight": weight,
                    "recall_without": scores.recall.to_json(),
                    "precision_without": scores.precision.to_json(),
                }
                for scores, weight in rows
            },
            **{
                f"{name}_without": self.without_weighting[name].to_json()
                for name in COMPARED_SCORES
            },
            **{f"{name}_difference": self.differences[name].to_json() for name in COMPARED_SCORES},
        }


def undo_class_weighting(predictions: Predictions, weights_NC: NDArray[np.float64]) -> Predictions:
    """Divide the probabilities by the class weights and renormalise them.

    Training with weight w for a class learns probabilities for a w times higher prior of it. The
    logits become the logarithms of the corrected probabilities.

    Args:
        predictions: with probabilities after the temperature.
        weights_NC: above 0; (C,), or (N, C) for each image.

    Source:
        Saerens, Latinne and Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a
        Priori Probabilities", equation 2.4; as a shift of logits: Menon et al. 2021, "Long-tail
        Learning via Logit Adjustment".
    """
    shares_NC = predictions.probabilities_NC / weights_NC
    shares_NC = shares_NC / shares_NC.sum(axis=1, keepdims=True)
    smallest = np.finfo(np.float32).tiny
    return replace(
        predictions,
        logits_NC=np.log(np.maximum(shares_NC, smallest)).astype(np.float32),
        probabilities_NC=shares_NC,
    )


def class_weighting_effect(
    report: Report,
    predictions: Predictions,
    without: Predictions,
    *,
    weights_C: NDArray[np.float64],
    differences: Mapping[Score, Estimate],
) -> ClassWeightingEffect:
    """Score the predictions without the weighting, and count what changes.

    Args:
        report: on `predictions`.
        without: `undo_class_weighting` of them.
        differences: of each score of `COMPARED_SCORES`.
    """
    changed_N = predictions.scorable().predicted_N != without.scorable().predicted_N
    return ClassWeightingEffect(
        weights_C,
        report,
        build_report(without, part=report.part),
        int(changed_N.sum()),
        differences,
    )
