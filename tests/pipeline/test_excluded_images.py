"""What is left out on suspicion is gone from training and shown apart in the test."""

from pathlib import Path

import numpy as np
import pytest

from holotype.dataset.index import read_index
from holotype.evaluation.build_report import build_report
from holotype.pipeline.training_run.excluded_images import (
    exclude_and_log,
    exclusion_notes,
    report_with_excluded,
)
from holotype.predictions import Predictions
from holotype.progress import Progress


def test_the_score_is_given_with_and_without_what_was_left_out(
    synthetic: Path, tmp_path: Path
) -> None:
    index = read_index(synthetic)
    index.table["split"] = "test"
    issues = tmp_path / "issues.csv"
    left_out = list(index.table["path"][:3])
    issues.write_text("\n".join(["path", *left_out]), encoding="utf-8")
    left, weights = exclude_and_log(index, issues, Progress())
    count, classes = len(left), index.classes
    targets = np.array([classes.index(label) for label in left.table["label"]], np.int64)
    called = targets.copy()
    called[[0, 1, 2, 50]] = (targets[[0, 1, 2, 50]] + 1) % 3  # all that was left out, and one more
    probabilities = 0.7 * np.eye(3)[called] + 0.1
    predictions = Predictions(
        classes=classes,
        ids=tuple(left.table["path"]),
        sha256=tuple(left.table["sha256"]),
        targets_N=targets,
        weights_N=left.table["weight"].to_numpy(np.float64),
        groups=("",) * count,
        folds_N=np.full(count, -1),
        logits_NC=np.log(probabilities).astype(np.float32),
        probabilities_NC=probabilities,
    )
    without = build_report(predictions, part="test")
    everything = report_with_excluded(predictions, weights, part="test")
    assert everything is not None
    assert (without.num_images, everything.num_images) == (117, 120)
    assert without["accuracy"].value == pytest.approx(116 / 117)
    assert everything["accuracy"].value == pytest.approx(116 / 120)
    (note,) = exclusion_notes(without, predictions, weights)
    assert f"{without['accuracy']} without the 3 images" in note
    assert f"{everything['accuracy']} with them" in note


def test_where_nothing_is_left_out_nothing_is_said(synthetic: Path) -> None:
    index = read_index(synthetic)
    left, weights = exclude_and_log(index, None, Progress())
    assert left is index
    assert weights == {}
