"""What class weights or balanced sampling did: the same answers with the weighting taken out.

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
    """A report as it is, and what it would be if the weighting were taken out of the answers.

    Attributes:
        weights_C: how much more an image of each class counted in training than by itself.
        with_weighting: the scores of the classifier as it is.
        without_weighting: the scores of the same answers without the weighting.
        num_changed: images that are called something else without it.
        differences: accuracy and balanced accuracy, with the weighting minus without, with the
            interval of that difference on the same images.
    """

    weights_C: NDArray[np.float64]
    with_weighting: Report
    without_weighting: Report
    num_changed: int
    differences: Mapping[Score, Estimate]

    def to_json(self) -> dict[str, Any]:
        """As metrics.json holds it; what is said of the classifier as it is, stands there too."""
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
    """The same answers for classes as frequent as they are: probabilities divided by the weights.

    Training that counts a class w times as much learns probabilities for a world in which it is w
    times as frequent. Divided by w, and made to sum to 1 again, they are those of the world that
    the images came from. The logits become the logarithms of these probabilities.

    Args:
        predictions: with the probabilities that are answered, after the temperature.
        weights_NC: above 0; a row of C numbers for all images, or one for each.

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
    """The scores of both.

    Args:
        report: on `predictions`.
        without: what `undo_class_weighting` makes of them.
        weights_C: to show.
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


def recorded_class_weights(metrics: Mapping[str, Any]) -> dict[str, float] | None:
    """The weight of each class as a `metrics.json` holds it; None where there was no weighting."""
    effect = metrics.get("class_weighting")
    if effect is None:
        return None
    return {name: float(row["weight"]) for name, row in effect["per_class"].items()}
