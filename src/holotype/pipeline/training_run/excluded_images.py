"""Images that a person excluded or relabelled, in training and in the scores of test."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holotype.dataset.auditing.exclude_confirmed import (
    exclude_images,
    original_weights,
    read_issue_rows,
)
from holotype.dataset.auditing.issue_reviews import disagreement_note
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import parts_of
from holotype.errors import DatasetError, SingleClass
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import Report
from holotype.predictions import Predictions
from holotype.progress import Progress

_CLASSES_SHOWN = 5


def exclude_and_log(
    index: Index, issues: str | Path | None, progress: Progress
) -> tuple[Index, dict[str, float]]:
    """The index without what a table names, and what test images among it weighed before.

    Args:
        index: split.
        issues: see `exclude_confirmed.exclude_images`; None leaves nothing out.
    """
    if issues is None:
        return index, {}
    kept, lines = exclude_images(index, issues)
    progress.log_all([*lines, *disagreement_note(read_issue_rows(Path(issues)), Path(issues))])
    return kept, original_weights(index, kept)


def require_trainable(index: Index, issues: str | Path | None) -> None:
    """Refuse a split whose parts, or whose classes in train, have no image with a weight above 0.

    Args:
        index: split.
        issues: the table of excluded images, or None.

    Raises:
        SingleClass: fewer than two classes are left in train.
        DatasetError: a class of train, or a part, is left without weight.
    """
    kept = index if issues is None else exclude_images(index, issues)[0]
    weighted = kept.table[kept.table["weight"] > 0]
    left = weighted[weighted["split"] == "train"]["label"]
    in_train = index.part("train").table["label"]
    lost = [name for name in index.classes if name not in set(left)]
    why = "; ".join(
        f"{name}: {_why_not_in_train(name, index, kept)}" for name in lost[:_CLASSES_SHOWN]
    )
    present = sorted(set(left))
    if len(present) < 2:
        only = f"of one class only, {present[0]!r}" if present else "of no class"
        raise SingleClass(
            f"the train part has images {only}, with a weight above 0 ({why}); expected at least "
            "two classes. Change the split, the weights or the table of excluded images."
        )
    emptied = [name for name in lost if name in set(in_train)]
    if emptied:
        raise DatasetError(
            f"class {emptied[0]!r} has no image with a weight above 0 in train ({why}); expected "
            "some of every class. Give it weight, or leave the class out of the data."
        )
    for part in parts_of(index):
        if len(index.part(part)) and part not in set(weighted["split"]):
            raise DatasetError(
                f"no image of the {part} part has a weight above 0, so it gives no score; expected "
                "one at least. Change the weights, the split or the table of excluded images."
            )


def _why_not_in_train(name: str, index: Index, kept: Index) -> str:
    before, after = (
        int((each.part("train").table["label"] == name).sum()) for each in (index, kept)
    )
    reasons = []
    if before > after:
        reasons.append(f"{before - after:,} left out by --exclude")
    if after:
        reasons.append(f"{after:,} with weight 0")
    return " and ".join(reasons) or "none in train"


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
        f"{everything['accuracy']} with {'it' if count == 1 else 'them'}."
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


def relabel_notes(
    report: Report, predictions: Predictions, labels_before: Mapping[str, str]
) -> list[str]:
    """A sentence with the accuracy on the labels before beside the one on the new; or none.

    Args:
        report: on `predictions`, whose targets are the new labels.
        labels_before: of the images that were relabelled, by path.
    """
    changed = [n for n, path in enumerate(predictions.ids) if path in labels_before]
    if not changed:
        return []
    targets_N = predictions.targets_N.copy()
    for n in changed:
        targets_N[n] = predictions.classes.index(labels_before[predictions.ids[n]])
    before = build_report(replace(predictions, targets_N=targets_N), part=report.part)
    what = "1 label that was" if len(changed) == 1 else f"{len(changed):,} labels that were"
    return [
        f"Accuracy is {report['accuracy']} with the {what} corrected in a review, and "
        f"{before['accuracy']} with the labels of the data."
    ]
