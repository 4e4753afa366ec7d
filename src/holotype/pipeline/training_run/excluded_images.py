"""Exclude images that a person names from training and from the scores of test."""

from dataclasses import replace
from pathlib import Path

from holotype.dataset.auditing.exclusion import exclude_images, original_weights
from holotype.dataset.index import Index
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import Report
from holotype.predictions import Predictions
from holotype.progress import Progress


def exclude_and_log(
    index: Index, issues: str | Path | None, progress: Progress
) -> tuple[Index, dict[str, float]]:
    """The index without what a table names, and what test images among it weighed before.

    Args:
        index: split.
        issues: see `dataset.exclusion.exclude_images`; None leaves nothing out.
    """
    if issues is None:
        return index, {}
    kept, lines = exclude_images(index, issues)
    for line in lines:
        progress.log(line)
    return kept, original_weights(index, kept)


def exclusion_notes(
    report: Report, predictions: Predictions, original_weights: dict[str, float]
) -> list[str]:
    """A sentence with the accuracy on all images beside the one without; none without any.

    Args:
        report: on `predictions`, where what was left out weighs 0.
        original_weights: what it weighed before, by path.
    """
    everything = report_with_excluded(predictions, original_weights, part=report.part)
    if everything is None:
        return []
    count = everything.num_images - report.num_images
    what = "1 image that was" if count == 1 else f"{count:,} images that were"
    return [
        f"Accuracy is {report['accuracy']} without the {what} excluded on suspicion, and "
        f"{everything['accuracy']} with them."
    ]


def report_with_excluded(
    predictions: Predictions, original_weights: dict[str, float], *, part: str
) -> Report | None:
    """The report on all images, those that weigh 0 with what they weighed before.

    None where nothing was left out of these predictions.
    """
    import numpy as np

    if not original_weights.keys() & set(predictions.ids):
        return None
    pairs = zip(predictions.ids, predictions.weights_N.tolist(), strict=True)
    before_N = np.array([original_weights.get(path, weight) for path, weight in pairs])
    return build_report(replace(predictions, weights_N=before_N), part=part)
