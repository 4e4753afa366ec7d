"""How right the classifier was on the images whose true class came back as feedback.

A confidence sequence: its interval holds at all times at once, however often one looks. Images of
one request key count together once, by their mean. It is about the images that got a label; where
people label what looks wrong, it is about such images.

Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting".
"""

from pathlib import Path
from typing import Any

import numpy as np

from holotype.serving.request_log.read_log import read_feedback
from holotype.serving.traffic.sequential_test import MeanTest

ACCURACIES_V = np.linspace(0, 1, 201)
ALPHA = 0.05


def feedback_accuracy(log: Path, digest: str) -> dict[str, Any] | None:
    """Value and interval of the answers of one bundle; None without feedback for it."""
    rows = read_feedback(log)
    latest: dict[tuple[str, int], tuple[str, bool]] = {}
    for n in range(len(rows["request_id"])):
        if rows["digest"][n] == digest and rows["predicted"][n]:
            name = (rows["request_id"][n], int(rows["image"][n]))
            group = rows["key"][n] or rows["request_id"][n]
            latest[name] = (group, rows["label"][n] == rows["predicted"][n])
    if not latest:
        return None
    by_group: dict[str, list[bool]] = {}
    for group, is_right in latest.values():
        by_group.setdefault(group, []).append(is_right)
    means = [float(np.mean(right)) for right in by_group.values()]
    low, high = accuracy_interval(means)
    return {
        "value": float(np.mean(means)),
        "low": low,
        "high": high,
        "images": len(latest),
        "reason": f"feedback on {len(latest):,} images of {len(means):,} independent requests; "
        "the interval holds whenever one looks",
    }


def accuracy_interval(right: list[float]) -> tuple[float, float]:
    """The 95 % interval after observations in [0, 1], valid at every time at once."""
    test = MeanTest(1, ACCURACIES_V, ALPHA)
    zero, one = np.zeros(1), np.ones(1)
    for each in right:
        test.update(np.array([each]), zero, one)
    return max(0.0, float(test.lower_E[0])), min(1.0, float(test.upper_E[0]))
