"""Which sets of views validation is asked about, and that the one it gets is what ships."""

import json
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.pipeline.training_run.calibrate import candidate_views
from holotype.predictions import read_predictions
from holotype.training.config.resolve import resolve_recipe
from tests.bundle.tiny import predicted


@pytest.mark.parametrize(
    ("symmetry", "zoom", "tried"),
    [
        ("none", 0.0, ["one"]),
        ("horizontal", 0.0, ["one", "mirror"]),
        ("none", 0.1, ["one", "scales"]),
        ("vertical", 0.1, ["one", "scales"]),
        ("both", 0.0, ["one", "mirror", "flips"]),
        ("dihedral", 0.2, ["one", "mirror", "flips", "scales", "dihedral"]),
    ],
)
def test_auto_tries_what_training_saw(symmetry: str, zoom: float, tried: list[str]) -> None:
    changes = {
        "test_time_augmentation": "auto", "stages.1.augmentation.symmetry": symmetry,
        "stages.1.augmentation.zoom": str(zoom),
    }  # fmt: skip
    assert candidate_views(resolve_recipe("finetune", overrides=changes)) == tried


def test_views_that_are_named_are_tried_whatever_training_saw() -> None:
    named = resolve_recipe("linear", overrides={"test_time_augmentation": "scales"})
    assert candidate_views(named) == ["one", "scales"]
    auto = resolve_recipe("linear", overrides={"test_time_augmentation": "auto"})
    assert candidate_views(auto) == ["one"]


def test_scales_are_sealed_and_told_and_predict_uses_them(synthetic: Path, tmp_path: Path) -> None:
    changes = {
        "test_time_augmentation": "scales", "stages.0.Cs": "[0.01]", "stages.0.folds": "null"
    }  # fmt: skip
    trained = holotype.train(
        synthetic, output=tmp_path / "run", model="hog", recipe="linear", overrides=changes
    )
    run = trained.files
    manifest = json.loads((run.bundle / "manifest.json").read_text())
    assert manifest["decision"]["views"] == "scales"
    assert "scales, 3 views of each image" in (run.report / "index.html").read_text(
        encoding="utf-8"
    )
    test = read_predictions(run.predictions / "test.parquet")
    again = predicted(load_bundle(run.path), [synthetic / name for name in test.ids[:4]])
    np.testing.assert_allclose(again.probabilities_NC, test.probabilities_NC[:4], atol=1e-6)
