"""What class weights or balanced sampling did to the answers that a report is about.

Shape suffixes: N pictures, C classes.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holotype.bundle.bundle import Bundle
    from holotype.comparison.answers import Answers
    from holotype.evaluation.intervals import Estimate
    from holotype.evaluation.report import Report
    from holotype.evaluation.weighing import Score, WeighingEffect
    from holotype.predictions import Predictions
    from holotype.run import Run


def effect_of_weighing(
    report: "Report", predictions: "Predictions", weights: "NDArray[np.float64] | None"
) -> "WeighingEffect | None":
    """The report beside that of the same answers without the weighting; None where none was.

    Args:
        report: on `predictions`.
        weights: (C) of the classes, or (N, C) where pictures were judged by different trainings.
    """
    from holotype.evaluation.weighing import weighing_effect, without_weighing

    if weights is None:
        return None
    without = without_weighing(predictions, weights)
    return weighing_effect(
        report, predictions, without, weights_C=np.atleast_2d(weights).mean(axis=0),
        differences=_differences(predictions, without, report.part),
    )  # fmt: skip


def _differences(
    weighed: "Predictions", without: "Predictions", part: str
) -> "dict[Score, Estimate]":
    """Accuracy and balanced accuracy, with the weighting minus without."""
    from holotype.comparison.answers import same_pictures
    from holotype.comparison.paired import difference_interval
    from holotype.comparison.resampled import paired_scores
    from holotype.evaluation.intervals import Estimate

    answers = same_pictures({"weighed": weighed, "without": without}, part)
    correct_MN = answers.correct_MN.astype(np.float64)
    gain_N = correct_MN[0] - correct_MN[1]
    accuracy = difference_interval(gain_N, answers.weights_N, answers.units)
    balanced = paired_scores(answers)["balanced_accuracy"]
    to_weighed, to_without = balanced.to_best  # one of them is the best, and has no difference
    if to_weighed is not None:
        ends = (to_weighed.value, to_weighed.low, to_weighed.high)
    else:
        assert to_without is not None
        ends = (-to_without.value, _minus(to_without.high), _minus(to_without.low))
    return {
        "accuracy": Estimate(*accuracy, f"paired over {answers.units.count} {_units(answers)}"),
        "balanced_accuracy": Estimate(*ends, balanced.method),
    }


def _minus(number: float | None) -> float | None:
    return None if number is None else -number


def _units(answers: "Answers") -> str:
    return "groups" if answers.units.grouped else "pictures"


def weights_of_folds(runs: "Sequence[Run]", pooled: "Predictions") -> "NDArray[np.float64] | None":
    """For every picture the class weights (N, C) of the training that judged it.

    Args:
        runs: of the folds, finished.
        pooled: what each said of its own fold.

    Returns:
        None where no fold weighed its classes.
    """
    found = [_recorded(run) for run in runs]
    if not any(found):
        return None
    weights_FC = np.array([[(of or {}).get(name, 1.0) for name in pooled.classes] for of in found])
    return weights_FC[pooled.folds_N]


def weights_of(run: "Run", bundle: "Bundle") -> "NDArray[np.float64] | None":
    """The class weights (C) that a finished run says it was trained with.

    Returns:
        None where there were none, and for a bundle of members: it answers with a mean, out of
        which the weights of each cannot be taken.
    """
    found = None if bundle.members else _recorded(run)
    return None if found is None else np.array([found[name] for name in bundle.classes])


def _recorded(run: "Run") -> dict[str, float] | None:
    from holotype.evaluation.weighing import recorded_weights

    file = run.report / "metrics.json"
    return recorded_weights(json.loads(file.read_text("utf-8"))) if file.is_file() else None
