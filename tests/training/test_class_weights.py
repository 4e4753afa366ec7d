"""How much more an image of a class counts: what is said of it is what training does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import split
from holotype.errors import InvalidRecipe
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.data.class_weights import class_weighting, inverse_frequency
from holotype.training.data.loader import BatchOptions, LabelledViews, training_batches
from holotype.training.features.initial_backbone import PretrainedBackbone, targets_and_weights
from holotype.training.preflight import check_stages
from holotype.training.train_stages import train
from holotype.training.training_resources import Runtime
from tests.training.tiny import NETWORK, Arrays

COUNTS = {"common": 60, "rare": 12, "odd": 3}


def imbalanced(weights: bool = False) -> Index:
    """A training part; with `weights`, the images of the rare class weigh a third each."""
    rows = [(name, n) for name, count in COUNTS.items() for n in range(count)]
    table = pd.DataFrame(
        {
            "path": [f"{name}/{n}.png" for name, n in rows],
            "label": [name for name, _ in rows],
            "split": "train",
            "weight": [1 / 3 if weights and name == "rare" else 1.0 for name, _ in rows],
        }
    )
    unseen = table.head(1).assign(path="x.png", label="unseen", split="test")
    return Index(Path(), pd.concat([table, unseen]), (*COUNTS, "unseen"))


def recipe(class_weights: str = "none", sampling: str = "all") -> Recipe:
    fields = {"class_weights": class_weights, "stages.0.sampling": sampling}
    return resolve_recipe("scratch", model="cnn_baseline", overrides=fields)


def test_class_weights_are_those_of_scikit_learn() -> None:
    own = recipe("balanced")
    found_C = class_weighting(own, own.stages[0], imbalanced())
    targets_N = np.repeat([0, 1, 2], list(COUNTS.values()))
    expected_C = compute_class_weight("balanced", classes=np.arange(3), y=targets_N)
    assert found_C is not None
    assert found_C == pytest.approx([*expected_C, 1.0])


def test_images_that_are_taken_as_they_come_have_none() -> None:
    own = recipe()
    assert class_weighting(own, own.stages[0], imbalanced()) is None


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("weights", [False, True])
def test_sampling_counts_classes_as_the_batches_do(class_weights: str, weights: bool) -> None:
    """What the loss adds up over 200 epochs of batches, against what the images weigh."""
    own, index = recipe(class_weights, "balanced"), imbalanced(weights)
    found_C = class_weighting(own, own.stages[0], index)
    assert found_C is not None
    table = index.part("train").table
    targets_N = np.repeat([0, 1, 2], list(COUNTS.values()))
    plain_N = table["weight"].to_numpy()
    loss_N = plain_N.copy()
    if class_weights == "balanced":
        loss_N *= inverse_frequency(targets_N, plain_N, 3)[targets_N]
    images = LabelledViews(
        Arrays(np.zeros((len(table), 1, 1), np.float32)), targets_N, loss_N.astype(np.float32)
    )
    of_class_C = np.zeros(3)
    for epoch in range(200):
        for batch in training_batches(images, BatchOptions(1, 32, seed=0, balanced=True), epoch):
            of_class_C += np.bincount(batch.targets, batch.weights, minlength=3)
    ratio_C = of_class_C / np.bincount(targets_N, plain_N)
    assert found_C[:3] / found_C[0] == pytest.approx(ratio_C / ratio_C[0], rel=0.06)
    assert np.average(found_C[targets_N], weights=plain_N) == pytest.approx(1)


def test_a_class_that_weighs_nothing_is_no_division_by_zero() -> None:
    factor_C = inverse_frequency(np.array([0, 0, 1]), np.array([1.0, 1.0, 0.0]), 3)
    assert factor_C.tolist() == [1.0, 1.0, 1.0]


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A recipe of a linear head, and a tiny network above which a balanced stage trains."""

    def make(learning_rate: float, class_weights: str = "none") -> Recipe:
        (tmp_path / "net.py").write_text(NETWORK)
        stage = {
            "name": "network", "method": "gradient_descent", "trainable": "all", "epochs": 1,
            "batch_size": 12, "learning_rate": learning_rate, "sampling": "balanced",
            "head_learning_rate": learning_rate,
        }  # fmt: skip
        head = {"name": "head", "method": "logistic_regression", "Cs": [0.1]}
        fields = {
            "name": "own", "image_size": 32, "class_weights": class_weights, "split": {},
            "stages": [head, stage],
        }  # fmt: skip
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
        return resolve_recipe(tmp_path / "recipe.yaml", model=f"{tmp_path / 'net.py'}:build")

    return make


def test_what_ships_is_said_to_be_weighed_as_the_stage_that_taught_it(
    own: Any, images: Index, tmp_path: Path
) -> None:
    """A stage so rough that what it began with ships leaves the weighting of the stage before."""
    index = split(images, ratios=(0.6, 0.3, 0.1), seed=1)
    few = index.table.index[(index.table["split"] == "train")][:5]  # of the first class
    index = replace(index, table=index.table.drop(few).reset_index(drop=True))
    runtime = Runtime("cpu", tmp_path / "c", Progress())
    found = train(own(30.0, "balanced"), index, name="own", runtime=runtime)
    assert found.history[0].val_loss < found.history[1].val_loss
    labels_N = index.part("train").table["label"]
    expected_C = compute_class_weight("balanced", classes=np.array(index.classes), y=labels_N)
    assert found.manifest.class_weights == pytest.approx(expected_C)
    assert np.ptp(expected_C) > 0.1, "sampling would square them"


def test_weights_of_classes_that_would_teach_nothing_are_refused(images: Index) -> None:
    balanced = {"class_weights": "balanced"}
    triplet = {**balanced, "stages.1.loss": "triplet"}
    for name, overrides in (("identify_frozen", balanced), ("identify", triplet)):
        recipe = resolve_recipe(name, overrides=overrides)  # as runs of earlier versions have it
        with pytest.raises(InvalidRecipe, match="class_weights does nothing to whitening"):
            check_stages(recipe, "cpu")
    recipe = resolve_recipe("identify", overrides=balanced)
    index = split(images, ratios=(0.6, 0.3, 0.1), seed=1)
    whitened, arcface = (class_weighting(recipe, stage, index) for stage in recipe.stages)
    assert whitened is None
    assert arcface is not None


def test_the_weights_of_images_in_the_loss_are_those_of_scikit_learn(
    own: Any, images: Index
) -> None:
    index = split(images, ratios=(0.6, 0.3, 0.1), seed=1)
    pretrained = PretrainedBackbone(own(0.1, "balanced"), index, Progress())
    of_train, targets_N, weights_N = targets_and_weights(pretrained, "train")
    assert weights_N == pytest.approx(compute_sample_weight("balanced", targets_N))
    assert len(of_train) == len(weights_N)
    assert set(targets_and_weights(pretrained, "val")[2].tolist()) == {1.0}
