"""What is left out on suspicion is gone from training and shown apart in the test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.dataset.index import Index, read_index
from holotype.errors import DatasetError, SingleClass
from holotype.evaluation.build_report import build_report
from holotype.pipeline.training_run.excluded_images import (
    exclude_and_log,
    exclusion_notes,
    report_with_excluded,
    require_trainable,
)
from holotype.predictions import Predictions
from holotype.progress import Progress
from tests.dataset.indices import make_index


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


def _split_index(weight_of: Callable[[str, str], float] = lambda label, part: 1.0) -> Index:
    """Twelve images of each of two classes: three in val, three in test, six in train."""
    parts = [*["val"] * 3, *["test"] * 3, *["train"] * 6]
    index = make_index([*["cat"] * 12, *["dog"] * 12], splits=parts * 2)
    rows = zip(index.table["label"], index.table["split"], strict=True)
    index.table["weight"] = [float(weight_of(label, part)) for label, part in rows]
    return index


@pytest.mark.parametrize(
    ("weight_of", "message"),
    [
        (lambda label, part: 0, r"no class.*cat: 6 with weight 0; dog: 6 with weight 0"),
        (lambda label, part: part != "train", "train part has images of no class"),
        (lambda label, part: (label, part) != ("dog", "train"), "one class only, 'cat'"),
        (lambda label, part: part != "val", "no image of the val part"),
        (lambda label, part: part != "test", "no image of the test part"),
    ],
)
def test_weights_of_nothing_are_refused_before_any_work(
    weight_of: Callable[[str, str], float], message: str
) -> None:
    require_trainable(_split_index(), None)
    with pytest.raises(DatasetError, match=message):
        require_trainable(_split_index(weight_of), None)


@pytest.mark.parametrize(
    ("label", "message"),
    [("dog", r"one class only, 'cat'.*dog: 6 left out by --exclude"), ("", "of no class")],
)
def test_exclusion_of_all_that_could_be_learned_is_refused(
    tmp_path: Path, label: str, message: str
) -> None:
    index = _split_index()
    table = index.table[index.table["split"] == "train"]
    paths = [path for path in table["path"] if path.startswith(label)]
    (tmp_path / "out.csv").write_text("\n".join(["path", *paths]), encoding="utf-8")
    with pytest.raises(SingleClass, match=message):
        require_trainable(index, tmp_path / "out.csv")


def test_a_class_that_a_given_split_keeps_out_of_train_is_refused_and_no_run_is_left(
    synthetic: Path, tmp_path: Path
) -> None:
    table = read_index(synthetic).table.assign(split="train")
    table.loc[table["label"] != table["label"].iloc[0], "split"] = "test"
    table["path"] = [str(synthetic / path) for path in table["path"]]
    with pytest.raises(SingleClass, match="none in train"):
        holotype.train(table[["path", "label", "split"]], model="hog", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
