"""`refit`: what ships learnt from validation too, and what validation says stays honest."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.inference import predict_index
from holotype.comparison.aligned_predictions import align_predictions
from holotype.dataset.index import read_index_file
from holotype.errors import ExportRefused, NotARun, SplitLeakage
from holotype.pipeline.run import Run
from holotype.predictions import read_predictions

LINEAR: dict[str, Any] = {"image_size": 64, "recipe": "linear"}
# From random weights, so that the best epoch is never what training started from.
SCRATCH: dict[str, Any] = {
    "image_size": 32, "recipe": "scratch", "model": "cnn_baseline",
    "overrides": {"stages.0.views": 2, "epochs": 2, "refit": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def refitted(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network."""
    return holotype.train(synthetic, output=tmp_path_factory.mktemp("runs") / "refitted", **SCRATCH)


@pytest.fixture(scope="module")
def heads(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A linear head without, and one with a refit."""
    runs = tmp_path_factory.mktemp("heads")
    plain = holotype.train(synthetic, output=runs / "plain", **LINEAR)
    return plain, holotype.train(
        synthetic, output=runs / "refitted", overrides={"refit": True}, **LINEAR
    )


def test_what_validation_chose_is_a_stage_and_what_ships_learnt_more(
    refitted: Run, heads: tuple[Run, Run]
) -> None:
    plain, with_refit = heads
    assert load_bundle(f"{with_refit.path}@head").sha256 == load_bundle(plain.path).sha256
    chosen, shipped = load_bundle(f"{refitted.path}@scratch"), load_bundle(refitted.path)
    assert not chosen.trained_on_validation
    assert shipped.trained_on_validation
    assert shipped.backbone_sha256 != chosen.backbone_sha256
    assert shipped.manifest.decision == chosen.manifest.decision


def test_validation_is_reported_of_what_did_not_learn_from_it(
    heads: tuple[Run, Run], refitted: Run
) -> None:
    for run, stage in ((heads[1], "head"), (refitted, "scratch")):
        validation = read_predictions(run.files.predictions / "val.parquet")
        chosen, shipped = load_bundle(f"{run.path}@{stage}"), load_bundle(run.path)
        images = read_index_file(run.files.index).part("val")
        np.testing.assert_array_equal(validation.logits_NC, predict_index(chosen, images).logits_NC)
        assert (validation.logits_NC != predict_index(shipped, images).logits_NC).any()


def test_what_was_noted_of_the_chosen_views_is_told_of_the_refit(
    synthetic: Path, tmp_path: Path
) -> None:
    changes = {"refit": True, "test_time_augmentation": "mirror"}
    run = holotype.train(
        synthetic, output=tmp_path / "run", model="lbp", recipe="linear", image_size=32,
        overrides=changes,
    )  # fmt: skip
    page = (run.files.report / "index.html").read_text()
    assert "trained again on training and validation" in page
    assert "Test-time" in page
    with pytest.raises(NotARun, match="what a stage left, which has no report"):
        _ = Run(f"{run.path}@head").metrics


def test_test_is_answered_by_what_ships(heads: tuple[Run, Run]) -> None:
    plain, run = heads
    images = read_index_file(run.files.index).part("test")
    test = read_predictions(run.files.predictions / "test.parquet")
    np.testing.assert_array_equal(
        test.logits_NC, predict_index(load_bundle(run.path), images).logits_NC
    )
    assert (test.logits_NC != plain.predictions("test").logits_NC).any()
    assert (
        "trained again on training and validation" in (run.files.report / "index.html").read_text()
    )


def test_gradients_are_those_of_what_ships(refitted: Run, synthetic: Path, tmp_path: Path) -> None:
    image = next(synthetic.rglob("*.png"))
    found = holotype.explain(refitted.path, [image], output=tmp_path / "maps", method="gradcam")
    assert found.path.exists()  # and the logits of both forms agreed, or it had been refused


def test_gradients_are_found_where_the_fitted_head_ships(synthetic: Path, tmp_path: Path) -> None:
    """Fine-tuning that made it no better is passed over when it is trained again."""
    stages = [
        {"name": "head", "method": "logistic_regression", "Cs": [1.0]},
        {"name": "worse", "method": "gradient_descent", "trainable": 0, "epochs": 1,
         "batch_size": 16, "head_learning_rate": 50.0},
    ]  # fmt: skip
    recipe = {"name": "worse", "model": "efficientnet_lite0", "refit": True, "stages": stages}
    run = holotype.train(synthetic, output=tmp_path / "run", image_size=64, recipe=recipe)
    assert load_bundle(run.path).trained_on_validation
    assert not run.files.refit_checkpoints.exists()
    image = next(synthetic.rglob("*.png"))
    found = holotype.explain(run.path, [image], output=tmp_path / "maps", method="gradcam")
    assert found.path.exists()


def test_a_run_that_lost_its_end_is_refitted_to_the_same_bundle(
    refitted: Run, synthetic: Path
) -> None:
    digest = load_bundle(refitted.path).sha256
    (refitted.files.report / "index.html").unlink()
    resuming = holotype.Resuming(resume=True)
    holotype.train(synthetic, output=refitted.path, resuming=resuming, **SCRATCH)
    assert load_bundle(refitted.path).sha256 == digest


def test_an_ensemble_is_weighted_by_what_its_members_said_before(
    heads: tuple[Run, Run], refitted: Run, tmp_path: Path
) -> None:
    made = holotype.ensemble([heads[1].path, refitted.path], output=tmp_path / "both")
    assert load_bundle(made.path).trained_on_validation
    said = align_predictions(
        {
            name: read_predictions(run.files.predictions / "val.parquet")
            for name, run in (("linear", heads[1]), ("scratch", refitted), ("both", made))
        },
        "val",
    )
    *before, both_NC = (one.probabilities_NC for one in said.predictions)
    assert (both_NC >= np.min(before, axis=0) - 1e-6).all()
    assert (both_NC <= np.max(before, axis=0) + 1e-6).all()


def test_what_would_be_judged_on_validation_is_refused(
    heads: tuple[Run, Run], refitted: Run, synthetic: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportRefused, match=r"refitted@scratch, which did not"):
        holotype.export(refitted.path, formats=["int8"], output=tmp_path / "int8")
    with pytest.raises(SplitLeakage, match="was trained on"):
        holotype.train(
            synthetic, output=tmp_path / "student", image_size=32, recipe="scratch",
            model="cnn_baseline", overrides={"teacher": {"run": str(heads[1].path)}},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [({"unknown": 0.2}, "the threshold"), ({"split.ratios": [0.8, 0.2, 0.0]}, "without a test")],
)
def test_where_it_cannot_be_done_it_is_said(
    synthetic: Path, tmp_path: Path, overrides: dict[str, object], reason: str
) -> None:
    run = holotype.train(
        synthetic, output=tmp_path / "run", overrides={"refit": True, **overrides}, **LINEAR
    )
    assert not load_bundle(run.path).trained_on_validation
    assert f"refit: not done, since {reason}" in (run.files.report / "index.html").read_text()
