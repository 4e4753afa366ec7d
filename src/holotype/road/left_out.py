"""Pictures that a person wants left out: gone from training, shown apart in the test."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.narration import Narrator

if TYPE_CHECKING:
    from holotype.dataset.index import Index
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions


def leave_out(
    index: "Index", issues: str | Path | None, narrator: Narrator
) -> "tuple[Index, dict[str, float]]":
    """The index without what a table names, and what test pictures among it weighed before.

    Args:
        index: split.
        issues: see `dataset.exclusion.excluded`; None leaves nothing out.
    """
    from holotype.dataset.exclusion import excluded, weights_before

    if issues is None:
        return index, {}
    left, lines = excluded(index, issues)
    for line in lines:
        narrator.say(line)
    return left, weights_before(index, left)


def note_on_left_out(
    report: "Report", predictions: "Predictions", weights: dict[str, float]
) -> list[str]:
    """A sentence with the accuracy on all pictures beside the one without; none without any.

    Args:
        report: on `predictions`, where what was left out weighs 0.
        weights: what it weighed before, by path.
    """
    everything = report_on_all(predictions, weights, part=report.part)
    if everything is None:
        return []
    count = everything.num_images - report.num_images
    what = "1 picture that was" if count == 1 else f"{count:,} pictures that were"
    return [
        f"Accuracy is {report['accuracy']} without the {what} excluded on suspicion, and "
        f"{everything['accuracy']} with them."
    ]


def report_on_all(
    predictions: "Predictions", weights: dict[str, float], *, part: str
) -> "Report | None":
    """The report on all pictures, those that weigh 0 with what they weighed before.

    None where nothing was left out of these predictions.
    """
    import numpy as np

    from holotype.evaluation.report import evaluate

    if not weights.keys() & set(predictions.ids):
        return None
    pairs = zip(predictions.ids, predictions.weights_N.tolist(), strict=True)
    before_N = np.array([weights.get(path, weight) for path, weight in pairs])
    return evaluate(replace(predictions, weights_N=before_N), part=part)
