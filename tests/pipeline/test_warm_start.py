"""Another recipe starts from what a run left."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import holotype
from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.pretrained_weights import (
    WeightsSource,
    find_weights,
    read_stage_checkpoint,
    strip_prefix,
)
from holotype.architectures.torch_classifier import TorchClassifier
from holotype.bundle.bundle import load_bundle
from holotype.bundle.onnx_runtime import run_session
from holotype.errors import UsageError, WeightsMismatch
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import Resuming
from holotype.pipeline.training_run.warm_start import with_warm_start
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import resolve_recipe
from holotype.training.finetuning.checkpoint import write_stage_result
from holotype.training.finetuning.training_state import StageResult
from tests.conftest import Cli

TINY: dict[str, Any] = {"model": "cnn_baseline", "recipe": "scratch", "image_size": 32}


@pytest.fixture(scope="module")
def scratch(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("begun") / "first"
    return holotype.train(synthetic, output=output, overrides={"epochs": 2}, **TINY)


def _tensors(run: RunDirectory, stage: str) -> dict[str, torch.Tensor]:
    file = run.checkpoints / f"{stage}.safetensors"
    found = read_stage_checkpoint(find_weights("cnn_baseline", str(file)))
    assert found is not None
    return found


def test_training_starts_from_the_weights_and_the_head_of_a_run(
    scratch: Run, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, err = cli(
        "train", synthetic, "--init-from", scratch.path, "--recipe", "scratch",
        "--output", tmp_path / "second", "--epochs", 1,
        "--set", "stages.0.learning_rate=1e-12", "--set", "stages.0.head_learning_rate=1e-12",
        "--set", "stages.0.batch_norm=frozen", "--set", "stages.0.weight_decay=0",
    )  # fmt: skip
    assert code == 0, err
    second = RunDirectory(tmp_path / "second")
    before, after = _tensors(scratch.files, "scratch"), _tensors(second, "scratch")
    assert all(torch.allclose(before[n].float(), after[n].float(), atol=1e-6) for n in before)
    recipe = yaml.safe_load(second.recipe.read_text())
    assert recipe["model"] == "cnn_baseline"
    assert recipe["image_size"] == 32  # as it was trained
    assert recipe["weights"].endswith("scratch.safetensors")


def test_a_linear_head_stands_on_the_network_that_was_left(
    scratch: Run, synthetic: Path, tmp_path: Path
) -> None:
    second = holotype.train(
        synthetic,
        output=tmp_path / "second",
        recipe="linear",
        resuming=Resuming(init_from=scratch.path),
    )
    first, linear = load_bundle(scratch.path), load_bundle(second.path)
    assert linear.manifest.weights is not None
    assert linear.manifest.weights.source == "file"
    image = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    one, other = (
        run_session(bundle.backbone, image, ["embedding"])[0] for bundle in (first, linear)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_stage_can_be_named(finetuned: Run) -> None:
    request = TrainingRequest(data=(), resuming=Resuming(init_from=f"{finetuned.path}@finetune"))
    weights = with_warm_start(request).resolve_recipe().weights
    assert weights == str(finetuned.files.checkpoints / "finetune.safetensors")


def test_what_cannot_be_started_from_is_refused(
    scratch: Run, finetuned: Run, synthetic: Path, cli: Cli
) -> None:
    run = scratch.path
    for more, words in (
        (("--model", "cnn_v1"), "holds the weights of cnn_baseline, and --model says cnn_v1"),
        (("--weights", "none"), "both say where weights come from"),
    ):
        code, _, err = cli("train", synthetic, "--init-from", run, *more)
        assert code == 2
        assert words in err
    with pytest.raises(UsageError, match="trained only a head"):
        holotype.train(synthetic, resuming=Resuming(init_from=f"{finetuned.path}@head"))
    file = scratch.files.checkpoints / "scratch.safetensors"
    code, _, err = cli("train", synthetic, "--weights", file, "--model", "cnn_v1")
    assert code == WeightsMismatch.exit_code
    assert re.search(r"left by a run of another network than cnn_v1", err)


def _run_of(folder: Path, recipe: str, model: str, **overrides: Any) -> RunDirectory:
    """What a warm start looks at: a recipe, and the weights of its last stage."""
    run = RunDirectory(folder)
    resolved = resolve_recipe(recipe, model=model, image_size=32, overrides=overrides)
    run.path.mkdir()
    run.write_recipe(resolved.to_yaml())
    random = WeightsSource("none", None, "none")
    backbone = build_backbone(model, random, 32, seed=0, options=resolved.model_options)
    classifier = TorchClassifier(backbone, 4, 2)
    write_stage_result(
        StageResult(resolved.stages[-1].name, 0, []), classifier.state_dict(), run.checkpoints,
        classes=["a", "b"],
    )  # fmt: skip
    return run


def test_the_options_of_the_network_come_with_its_weights(tmp_path: Path) -> None:
    run = _run_of(tmp_path / "run", "scratch", "mobilenetv2", **{"model_options.alpha": 0.5})
    for overrides in ({"seed": 3}, ["seed=3"]):
        request = TrainingRequest(
            data=(), recipe="scratch", overrides=overrides, resuming=Resuming(init_from=run.path)
        )
        recipe = with_warm_start(request).resolve_recipe()
        assert recipe.model_options == {"alpha": 0.5}
        assert recipe.seed == 3
        find = find_weights(recipe.model, recipe.weights, recipe.model_options)
        assert build_backbone(recipe.model, find, 32, seed=1, options=recipe.model_options)


def test_a_pruned_network_and_the_mean_of_folds_start_nothing(tmp_path: Path) -> None:
    pruned = _run_of(tmp_path / "pruned", "pruned", "cnn_baseline")
    folds = _run_of(tmp_path / "folds", "scratch", "cnn_baseline")
    folds.fold(0).path.mkdir(parents=True)
    for run, words in ((pruned, "left a pruned network"), (folds, r"such as '.*folds/0'")):
        with pytest.raises(UsageError, match=words):
            with_warm_start(TrainingRequest(data=(), resuming=Resuming(init_from=run.path)))


def test_pretrained_weights_are_not_taken_for_what_a_stage_left() -> None:
    assert read_stage_checkpoint(find_weights("efficientnet_lite0")) is None


def test_the_parts_of_a_classifier_are_told_apart() -> None:
    assert strip_prefix(
        {"head.weight": 1, "header.weight": 2, "backbone.head.bias": 3}, "head."
    ) == {"weight": 1}
