"""Where training weighed the classes, the report says what that did: for every way to train."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score
from sklearn.utils.class_weight import compute_class_weight

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import read_index_file
from holotype.pipeline.evaluate import evaluate
from holotype.pipeline.run import Run
from holotype.predictions import Predictions, read_predictions

BALANCED = {"class_weights": "balanced"}
WAYS: dict[str, dict[str, Any]] = {
    "svm": {
        "model": "lbp", "recipe": "svm",
        "overrides": {**BALANCED, "stages.0.folds": "2", "stages.0.pca": "[16]"},
    },
    "forest": {
        "model": "lbp", "recipe": "forest",
        "overrides": {**BALANCED, "stages.0.folds": "2", "stages.0.trees": "20"},
    },
    "linear": {
        "model": "lbp", "recipe": "linear",
        "overrides": {**BALANCED, "stages.0.Cs": "[0.01]", "stages.0.folds": "null"},
    },
    "sampled": {
        "model": "cnn_baseline", "recipe": "scratch", "image_size": 32,
        "overrides": {
            "epochs": 3,
            "stages.0.sampling": "balanced", "stages.0.views": "1", "stages.0.augmentation": "null",
        },
    },
}  # fmt: skip

SLOW = ("svm", "forest")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two digits that look alike to a coarse eye, 150 of the one and 40 of the other."""
    folder = tmp_path_factory.mktemp("weighed") / "digits"
    images, targets = load_digits(return_X_y=True)
    for label, digit, count in (("many", 8, 150), ("few", 3, 40)):
        for number, image in enumerate(images[targets == digit][:count]):
            path = folder / label / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = (image.reshape(8, 8) * (255 / 16)).astype(np.uint8)
            Image.fromarray(levels).resize((32, 32)).save(path)
    return folder


def without(predictions: Predictions, weights_C: np.ndarray) -> np.ndarray:
    """The class numbers that the probabilities name once each is divided by its weight."""
    return np.asarray((predictions.probabilities_NC / weights_C).argmax(axis=1))


@pytest.mark.parametrize(
    "way", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in WAYS]
)
def test_the_report_tells_what_weighing_did_class_by_class(
    way: str, digits: Path, tmp_path: Path
) -> None:
    trained = holotype.train(digits, output=tmp_path / "run", **WAYS[way])
    run = trained.files
    table = read_index_file(run.index).part("train").table
    weights_C = compute_class_weight(
        "balanced", classes=np.array(["few", "many"]), y=table["label"].to_numpy()
    )
    told = json.loads((run.report / "metrics.json").read_text())["class_weighting"]
    test = read_predictions(run.predictions / "test.parquet")
    without_N = without(test, weights_C)
    recalls = recall_score(test.targets_N, without_N, average=None)
    precisions = precision_score(test.targets_N, without_N, average=None, zero_division=np.nan)
    for n, name in enumerate(("few", "many")):
        row = told["per_class"][name]
        assert row["weight"] == pytest.approx(weights_C[n])
        assert row["recall_without"]["value"] == pytest.approx(recalls[n])
        precision = row["precision_without"]["value"]
        assert (precision is None) == np.isnan(precisions[n])
        assert precision is None or precision == pytest.approx(precisions[n])
        assert row["recall_without"]["low"] < row["recall_without"]["high"]
    assert told["num_changed"] == (without_N != test.predicted_N).sum()
    difference = balanced_accuracy_score(test.targets_N, test.predicted_N)
    difference -= balanced_accuracy_score(test.targets_N, without_N)
    assert told["balanced_accuracy_difference"]["value"] == pytest.approx(difference)
    page = re.sub(r"\s+", " ", (run.report / "index.html").read_text(encoding="utf-8"))
    assert "the weighting removed from its predictions, not another training" in page


def test_other_images_are_told_with_the_weights_that_the_run_recorded(
    digits: Path, tmp_path: Path
) -> None:
    run = holotype.train(digits, output=tmp_path / "run", **WAYS["linear"])
    evaluate(run.path, digits, output=tmp_path / "out")
    told, again = (
        json.loads((folder / "report" / "metrics.json").read_text())["class_weighting"]
        for folder in (run.path, tmp_path / "out")
    )
    weights = [[row["weight"] for row in one["per_class"].values()] for one in (told, again)]
    assert weights[0] == weights[1]
    assert weights[0][0] > 1 > weights[0][1]
    predictions = read_predictions(tmp_path / "out" / "predictions.parquet")
    without_N = without(predictions, np.array(weights[0]))
    accuracy = (without_N == predictions.targets_N).mean()
    assert again["accuracy_without"]["value"] == pytest.approx(accuracy)


def test_every_fold_is_told_with_the_weights_of_its_own_training(
    digits: Path, tmp_path: Path
) -> None:
    trained = holotype.train(digits, output=tmp_path / "run", folds=2, **WAYS["linear"])
    oof = read_predictions(trained.files.predictions / "oof.parquet")
    without_N = oof.predicted_N.copy()
    for fold in range(2):
        table = read_index_file(trained.files.fold(fold).index).part("train").table
        weights_C = compute_class_weight(
            "balanced", classes=np.array(["few", "many"]), y=table["label"].to_numpy()
        )
        rows = oof.folds_N == fold
        assert rows.any()
        without_N[rows] = without(oof.select(rows), weights_C)
    metrics = json.loads((trained.files.report / "metrics.json").read_text())
    told = metrics["class_weighting"]
    assert told["num_changed"] == (without_N != oof.predicted_N).sum()
    assert told["accuracy_without"]["value"] == pytest.approx((without_N == oof.targets_N).mean())
    # What ships is their mean, out of which no weights can be taken.
    evaluate(trained.path, digits, output=tmp_path / "out")
    assert "class_weighting" not in (tmp_path / "out" / "report" / "metrics.json").read_text()


def test_a_run_that_weighed_nothing_says_nothing_of_it(finetuned: Run) -> None:
    run = finetuned.files
    assert load_bundle(finetuned.path).manifest.class_weights is None
    assert "class_weighting" not in json.loads((run.report / "metrics.json").read_text())
    assert "weighing" not in (run.report / "index.html").read_text(encoding="utf-8")
