"""What changed, said once there is an alarm: tests, classes, and the images most unlike.

Shape suffixes: N images of the window, R of the reference.
"""

from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.bundle.references import nearest
from holotype.watching.diagnosis.change_kind import KindOfChange, features, kind_of_change
from holotype.watching.diagnosis.two_sample_tests import (
    TestOutcome,
    domain_classifier,
    ks_test,
    mmd_test,
)
from holotype.watching.log_windows import LogWindow
from holotype.watching.monitoring.image_scores import ImageScores
from holotype.watching.monitoring.monitors import Monitors
from holotype.watching.watch_status import ChangeKind
from holotype.watching.watched_images import WatchedImages, joined

MIN_IMAGES = 20
SHOWN_CLASSES, SHOWN_IMAGES, SHOWN_NEAREST = 20, 12, 3


def independent_images(windows: Sequence[LogWindow]) -> WatchedImages:
    """One image of each request key of every window; each of these has some."""
    tables = [window.images for window in windows]
    return joined([table.select(table.one_of_each_group(seed=0)) for table in tables])


def kind_of_alarm(
    monitors: Monitors, change: KindOfChange | None, compared: Container[str]
) -> ChangeKind:
    """How an alarm is called.

    Args:
        change: None where there are too few images to tell more than which monitor it was.
        compared: names of the scores that the reference has; where none of those that raised the
            alarm is among them, what differs from the reference is not what has changed.
    """
    raised = [monitor.watched for monitor in monitors.ranked if monitor.alarm]
    if raised and all(watched.about == "service" for watched in raised):
        return "service"
    if change is not None and (not raised or any(each.name in compared for each in raised)):
        return change.kind
    first = raised[0].name if raised else ""
    if first.startswith("class "):
        return "label shift"
    return "novelty" if first == "unknown" else "input"


def what_changed(
    windows: Sequence[LogWindow],
    images: WatchedImages,
    reference: WatchedImages,
    scores: ImageScores,
    bundle: Bundle,
    change: KindOfChange | None,
) -> dict[str, Any]:
    """The changes of `watch.json`, from the windows since the change began.

    Args:
        images: the independent ones of these windows.
    """
    found: dict[str, Any] = {
        "images_looked_at": len(images),
        "tests": [asdict(test) for test in _tests(images, reference, scores)],
        "told_apart": None,
        "classes": [],
        "images": [],
    }
    if change is None:
        return found
    found["told_apart"] = {
        "auc": change.plain.auc,
        "auc_with_classes_weighted": change.weighted.auc,
        "auc_of_confidences": change.confidences.auc,
        "unchanged_share": change.remaining,
    }
    found["classes"] = _classes(change, bundle.classes)
    found["images"] = _most_unlike(windows, reference, bundle)
    return found


def change_between(images: WatchedImages, reference: WatchedImages) -> KindOfChange | None:
    """The kind of change; None where there are too few independent images to tell."""
    if min(len(images), len(reference)) < MIN_IMAGES:
        return None
    return kind_of_change(images, reference)


def _tests(
    images: WatchedImages, reference: WatchedImages, scores: ImageScores
) -> list[TestOutcome]:
    """Every two-sample test, the smallest p first."""
    ours, theirs = scores.of(images), scores.of(reference)
    found = [
        ks_test(name, ours[name], theirs[name]) for name in ours if not name.startswith("class ")
    ]
    outcomes = [outcome for outcome in found if outcome is not None]
    if images.embeddings_ND is not None and reference.embeddings_ND is not None:
        outcomes.append(mmd_test(images.embeddings_ND, reference.embeddings_ND))
    return sorted(outcomes, key=lambda outcome: outcome.p_value)


def _classes(change: KindOfChange, names: Sequence[str]) -> list[dict[str, Any]]:
    """The classes whose share of answers moved most."""
    shares = change.shares
    moved_C = shares.answered_C - shares.reference_C
    return [
        {
            "name": names[c],
            "reference": float(shares.reference_C[c]),
            "answered": float(shares.answered_C[c]),
            "by_em": float(shares.by_em_C[c]),
            "by_confusion": None
            if shares.by_confusion_C is None
            else float(shares.by_confusion_C[c]),
        }
        for c in np.argsort(-np.abs(moved_C))[:SHOWN_CLASSES]
    ]


def _most_unlike(
    windows: Sequence[LogWindow], reference: WatchedImages, bundle: Bundle
) -> list[dict[str, Any]]:
    """The images most unlike the reference, with the nearest training images that are kept."""
    rows = [(window, number) for window in windows for number in range(len(window.images))]
    images = joined([window.images for window in windows])
    odds_N = domain_classifier(*features(images, reference)).odds_N
    kept = None if bundle.members else bundle.references
    found = []
    for position in np.argsort(-odds_N, kind="stable")[:SHOWN_IMAGES]:
        window, number = rows[position]
        embeddings_ND = images.embeddings_ND
        neighbours = []
        if kept is not None and embeddings_ND is not None:
            neighbours = [
                {"name": kept.names[row], "cosine": cosine}
                for row, cosine in nearest(kept, embeddings_ND[position], SHOWN_NEAREST)
            ]
        found.append(
            {
                "request_id": window.request_ids[number],
                "image": window.image_numbers[number],
                "file": window.files[number],
                "answered": bundle.classes[int(images.predicted_N[position])],
                "confidence": float(images.confidence_N[position]),
                "odds": float(odds_N[position]),
                "nearest": neighbours,
            }
        )
    return found
