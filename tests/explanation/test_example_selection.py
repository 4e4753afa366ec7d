"""The gallery shows what a person should look at first, and never fails for one image."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from holotype.bundle.bundle import Bundle
from holotype.dataset.index import Index
from holotype.explanation.example_selection import select_examples
from holotype.predictions import Predictions
from tests.bundle.tiny import CLASSES, write_images, write_tiny

COUNT = 40


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny(tmp_path / "bundle")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    paths = write_images(tmp_path / "images", COUNT)
    noise_HW = np.random.default_rng(0).integers(0, 256, (600, 900), dtype=np.uint8)
    Image.fromarray(noise_HW).save(paths[0])
    return Index(tmp_path / "images", pd.DataFrame({"path": [p.name for p in paths]}), CLASSES)


@pytest.fixture
def predictions(index: Index) -> Predictions:
    """Answers drawn by lot: the gallery believes the predictions, not the bundle."""
    random = np.random.default_rng(3)
    probabilities_NC = random.dirichlet((0.7, 0.7, 0.7), COUNT)
    targets_N = probabilities_NC.argmax(axis=1)
    wrong = random.permutation(COUNT)[:15]
    targets_N[wrong] = (targets_N[wrong] + 1) % 3
    targets_N[-2:] = -1
    return Predictions(
        classes=CLASSES,
        ids=tuple(index.table["path"]),
        sha256=("0" * 64,) * COUNT,
        targets_N=targets_N.astype(np.int64),
        weights_N=np.ones(COUNT),
        groups=("",) * COUNT,
        folds_N=np.full(COUNT, -1, np.int64),
        logits_NC=np.log(probabilities_NC + 1e-9).astype(np.float32),
        probabilities_NC=probabilities_NC,
    )


def test_the_most_confident_mistakes_come_first(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    examples = select_examples(bundle, index, predictions, mistakes=5, correct=0)
    table = pd.DataFrame(
        {
            "id": predictions.ids,
            "confidence": predictions.probabilities_NC.max(axis=1),
            "wrong": (predictions.predicted_N != predictions.targets_N)
            & (predictions.targets_N >= 0),
        }
    )
    expected = table[table["wrong"]].sort_values("confidence", ascending=False)[:5]
    assert [example.id for example in examples] == expected["id"].tolist()
    assert [example.confidence for example in examples] == expected["confidence"].tolist()
    for example in examples:
        row = predictions.ids.index(example.id)
        assert example.kind == "mistake"
        assert example.true_class == CLASSES[predictions.targets_N[row]]
        assert example.predicted_class == CLASSES[predictions.predicted_N[row]]


def test_images_that_weigh_nothing_in_the_score_are_not_shown(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    first = select_examples(bundle, index, predictions, mistakes=1, correct=0)[0].id
    weights_N = np.where(np.array(predictions.ids) == first, 0.0, 1.0)
    scored = replace(predictions, weights_N=weights_N)
    shown = select_examples(bundle, index, scored, mistakes=COUNT, correct=COUNT)
    assert first not in {example.id for example in shown}


def test_correct_answers_are_drawn_from_every_class(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    examples = select_examples(bundle, index, predictions, mistakes=0, correct=9)
    assert {example.kind for example in examples} == {"correct"}
    assert Counter(example.true_class for example in examples) == dict.fromkeys(CLASSES, 3)
    assert all(example.true_class == example.predicted_class for example in examples)


def test_the_order_of_predictions_changes_nothing_and_the_seed_does(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    shuffled = predictions.select(np.random.default_rng(0).permutation(COUNT))
    drawn = [
        [example.id for example in select_examples(bundle, index, table, seed=seed)]
        for table, seed in ((predictions, 0), (shuffled, 0), (predictions, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_images_are_small_and_carry_a_heatmap_of_their_size(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    examples = {
        e.id: e for e in select_examples(bundle, index, predictions, mistakes=40, correct=40)
    }
    assert len(examples) == COUNT - 2, "the two without a label are passed over"
    assert examples["000.png"].image_HWC.shape == (213, 320, 3)
    for example in examples.values():
        assert example.image_HWC.dtype == np.uint8
        assert example.overlay_HWC is not None
        assert example.overlay_HWC.shape == example.image_HWC.shape
        assert not np.array_equal(example.overlay_HWC, example.image_HWC)


def test_an_image_that_vanished_is_left_out(
    bundle: Bundle, index: Index, predictions: Predictions
) -> None:
    before = [example.id for example in select_examples(bundle, index, predictions)]
    index.file(before[1]).unlink()
    after = [example.id for example in select_examples(bundle, index, predictions)]
    assert after == [before[0], *before[2:]]
