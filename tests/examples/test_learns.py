"""Each example learns: on the test part of the synthetic set it beats always naming one class.

Fewer and smaller images, shorter and smaller batches; rates, heads, schedules and what trains are
the example's. Where it asks for a pretrained network, one stands in whose real weights are here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holotype
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.pipeline.training_run.training_options import ReadingOptions
from holotype.predictions import read_predictions
from tests.examples.conftest import PETS_PATTERN, flat_pets
from tests.examples.reduced import reduced

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

REAL = "efficientnet_lite0"
IMAGES = 300


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("learns") / "shapes", 3, IMAGES, image_size=64)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat_pets(tmp_path_factory.mktemp("learns"), images=IMAGES, image_size=64)


@pytest.mark.parametrize(
    ("name", "variant", "model", "stage"),
    [
        ("fossils", "convnext_base", REAL, {"epochs": 5, "batch_size": 8}),
        ("materials", "resnet50", REAL, {"epochs": 4, "batch_size": 8, "views": 4}),
        ("turtles", "resnet50", REAL, {"epochs": 4, "batch_size": 8, "views": 4}),
        ("eye_vs_ai", "classical_svm", None, {}),
        ("cats_and_dogs", "resnet50", REAL, {"epochs": 5, "batch_size": 8, "views": 4}),
    ],
)
def test_an_example_beats_the_majority_class(
    name: str, variant: str, model: str | None, stage: dict[str, Any],
    shapes: Path, pets: Path, tmp_path: Path,
) -> None:  # fmt: skip
    arguments = reduced(name, variant, model=model, image_size=64, stage=stage)
    assert "weights" not in arguments["overrides"]
    is_pets = name == "cats_and_dogs"
    trained = holotype.train(
        pets if is_pets else shapes, output=tmp_path / "run",
        reading=ReadingOptions(label_pattern=PETS_PATTERN if is_pets else None), **arguments,
    )  # fmt: skip
    test = read_predictions(trained.files.predictions / "test.parquet")
    majority = np.bincount(test.targets_N).max() / len(test.targets_N)
    accuracy = trained.metrics["accuracy"]
    assert accuracy.low > majority, f"{accuracy} against {majority:.3f}"
