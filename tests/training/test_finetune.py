"""Stages of gradient descent, one after the other, on a tiny network of one's own."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import holotype.training.finetuning.training_loop as loop
from holotype.architectures.torch_classifier import hash_weights
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import split
from holotype.errors import OutOfMemory, TrainingDiverged
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.epoch_metrics import EpochMetrics, describe_epoch
from holotype.training.features.initial_backbone import PretrainedBackbone
from holotype.training.finetuning import gradient_step
from holotype.training.finetuning.finetune import FineTuner
from holotype.training.finetuning.training_state import StageResult
from holotype.training.train_stages import _best_epoch_note
from holotype.training.training_resources import Runtime
from tests.training.tiny import NETWORK

SHARED: dict[str, Any] = {
    "method": "gradient_descent", "epochs": 3, "batch_size": 12, "learning_rate": 0.02,
    "head_learning_rate": 0.02, "batch_norm": "train",
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe of stages, each given by what differs from `SHARED`."""

    def make(*stages: dict[str, Any]) -> Recipe:
        (tmp_path / "net.py").write_text(NETWORK)
        fields = {
            "name": "own", "image_size": 32, "fit": "squash", "interpolation": "bilinear",
            "background": [0, 0, 0], "class_weights": "none", "seed": 0, "split": {"seed": 1},
            "stages": [{"name": f"s{n}", **SHARED, **one} for n, one in enumerate(stages)],
        }  # fmt: skip
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
        return resolve_recipe(tmp_path / "recipe.yaml", model=f"{tmp_path / 'net.py'}:build")

    return make


def _run(
    recipe: Recipe, images: Index, checkpoints: Path, said: list[str] | None = None
) -> tuple[FineTuner, list[StageResult]]:
    stream = io.StringIO()
    progress = Progress(stream)
    index = split(images, ratios=(0.6, 0.3, 0.1), seed=1)
    pretrained = PretrainedBackbone(recipe, index, progress)
    fine_tuner = FineTuner.create(pretrained, Runtime("cpu", checkpoints, progress), None)
    ended = [fine_tuner.train(n, one) for n, one in enumerate(recipe.gradient_stages)]
    if said is not None:
        said += stream.getvalue().splitlines()
    return fine_tuner, ended


HEAD_ONLY = {"trainable": 0, "learning_rate": None, "batch_norm": None}


def test_a_stage_sees_what_the_stages_before_it_made_of_the_network(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Its frozen part is the trained one, not the one that the run began with."""
    _, (first, second) = _run(recipe({"trainable": "all"}, HEAD_ONLY), images, tmp_path / "c")
    assert first.best_epoch > 0
    assert second.rows[0].val_loss == pytest.approx(first.rows[first.best_epoch].val_loss, rel=1e-4)
    assert second.rows[0].num_trainable_parameters == 8 * 3 + 3


def test_a_stage_that_ended_is_not_trained_again(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe({"trainable": "all"}, {"trainable": ["0"]})
    fine_tuner, ended = _run(own, images, tmp_path / "c")
    monkeypatch.setattr("holotype.training.finetuning.finetune.train_loop", None)
    again, told = _run(own, images, tmp_path / "c")
    # As text, since the training loss of epoch 0 is nan, which is not equal to itself.
    assert str(told) == str(ended)
    assert hash_weights(again.classifier) == hash_weights(fine_tuner.classifier)


@pytest.mark.parametrize(
    "model", ["cnn_baseline", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)]
)
def test_a_run_killed_after_a_stage_exports_the_same_graph(
    images: Index, model: str, tmp_path: Path
) -> None:
    """A process that has trained holds its weights in another memory format than one that loads."""
    stage = {"name": "s0", **SHARED, "epochs": 1, "trainable": 1}
    fields = {"name": "own", "model": model, "image_size": 64, "stages": [stage]}
    own = resolve_recipe(fields)
    undisturbed, (ended,) = _run(own, images, tmp_path / "c")
    assert ended.best_epoch == 1
    resumed, _ = _run(own, images, tmp_path / "c")
    assert resumed.backbone_graph() == undisturbed.backbone_graph()


def test_the_state_that_a_kill_left_beside_a_finished_stage_goes(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    own, state = recipe({"trainable": 1, "epochs": 1}), tmp_path / "c" / "s0.state.safetensors"
    _run(own, images, tmp_path / "c")
    assert not state.exists()
    state.touch()
    _run(own, images, tmp_path / "c")
    assert [file.name for file in (tmp_path / "c").glob("*.safetensors")] == ["s0.safetensors"]


def test_only_what_something_has_taught_ships_as_it_began(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    bad = {"trainable": "all", "learning_rate": 30.0, "head_learning_rate": 30.0}
    own = recipe(bad)
    _, (first,) = _run(own, images, tmp_path / "untrained")
    assert first.best_epoch > 0
    assert all(row.val_loss > first.rows[0].val_loss for row in first.rows[1:])
    assert "learnt nothing" in _best_epoch_note(own.gradient_stages[0], first)
    own = recipe({"trainable": "all"}, bad)
    _, (taught, second) = _run(own, images, tmp_path / "taught")
    assert second.best_epoch == 0
    assert "learnt nothing" not in _best_epoch_note(own.gradient_stages[0], taught)


def test_an_epoch_that_no_image_validated_was_not_the_best_of_any(
    recipe: Callable[..., Recipe],
) -> None:
    nan = float("nan")
    rows = [EpochMetrics("s0", n, 0.5, nan, nan, 0.1, 1) for n in range(4)]
    note = _best_epoch_note(
        recipe({"trainable": "all"}).gradient_stages[0], StageResult("s0", 3, rows)
    )
    assert note == "s0: epoch 3 ships, the last one: no image validated it"


def test_a_training_that_was_killed_goes_on_as_if_nothing_had_happened(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe({"trainable": "all", "epochs": 4, "mixup": {"probability": 0.5, "alpha": 1}})
    undisturbed, _ = _run(own, images, tmp_path / "whole")
    step, calls = gradient_step.optimiser_step, 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:  # in the middle of the third epoch of three steps
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "optimiser_step", killed)
    with pytest.raises(KeyboardInterrupt):
        _run(own, images, tmp_path / "killed")
    monkeypatch.setattr(loop, "optimiser_step", step)
    resumed, _ = _run(own, images, tmp_path / "killed")
    assert hash_weights(resumed.classifier) == hash_weights(undisturbed.classifier)


def test_out_of_memory_halves_the_batch_and_makes_steps_of_two(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe({"trainable": "all", "batch_norm": "frozen", "epochs": 2})
    _memory_for(6, monkeypatch)
    said: list[str] = []
    _, (ended,) = _run(own, images, tmp_path / "halved", said)
    assert any("out of memory; going on with batches of 6, 2 of them" in line for line in said)
    assert ended.best_epoch > 0


def test_epoch_0_says_nothing_of_a_training_loss(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    said: list[str] = []
    _run(recipe({"trainable": "all", "epochs": 1}), images, tmp_path / "c", said)
    first, second = [line for line in said if line.startswith("s0 epoch")]
    assert re.fullmatch(r"s0 epoch 0/1: validation loss \S+, validation accuracy \S+", first)
    assert second.startswith("s0 epoch 1/1: training loss ")
    assert ", training accuracy " in second
    assert not any("nan" in line or "°C" in line for line in said)


def test_the_temperature_of_a_gpu_is_told_with_each_epoch() -> None:
    epoch = EpochMetrics("s0", 1, 0.5, 0.4, 0.9, 1e-3, 10, 0.8, device_temperature=61.0)
    assert describe_epoch(epoch, 3) == (
        "s0 epoch 1/3: training loss 0.5000, training accuracy 0.8000, validation loss 0.4000, "
        "validation accuracy 0.9000, 61 °C"
    )


def test_whoever_runs_a_training_hears_of_every_epoch_and_may_stop_it(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    heard: list[tuple[str, int]] = []

    def on_epoch(epoch: EpochMetrics) -> None:
        heard.append((epoch.stage, epoch.epoch))
        if len(heard) == 4:
            raise KeyboardInterrupt

    two = recipe({"trainable": "all", "epochs": 1}, {**HEAD_ONLY, "epochs": 5})
    pretrained = PretrainedBackbone(two, split(images, ratios=(0.6, 0.3, 0.1), seed=1), Progress())
    runtime = Runtime("cpu", tmp_path / "c", Progress(), on_epoch=on_epoch)
    fine_tuner = FineTuner.create(pretrained, runtime, None)
    with pytest.raises(KeyboardInterrupt):
        [fine_tuner.train(n, one) for n, one in enumerate(two.gradient_stages)]
    assert heard == [("s0", 0), ("s0", 1), ("s1", 0), ("s1", 1)]


def test_memory_that_never_suffices_is_one_clear_line(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _memory_for(0, monkeypatch)
    with pytest.raises(OutOfMemory, match="--save-memory"):
        _run(recipe({"trainable": "all"}), images, tmp_path / "c")


def _memory_for(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = gradient_step._loss

    def limited(run: Any, batch: Any) -> Any:
        if len(batch.inputs) > images:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return loss(run, batch)

    monkeypatch.setattr(gradient_step, "_loss", limited)


def test_a_loss_that_breaks_names_the_last_good_weights(
    images: Index, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = gradient_step._loss, 0

    def broken(run: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        summed, correct, weight = loss(run, batch)
        return summed * (float("nan") if calls == 5 else 1), correct, weight

    monkeypatch.setattr(gradient_step, "_loss", broken)
    with pytest.raises(TrainingDiverged, match=r"of epoch 1, are in .*s0.state.safetensors"):
        _run(recipe({"trainable": "all"}), images, tmp_path / "c")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainable": "all", "patience": 3}, "patience 3 cannot fire within 3 epochs"),
        (
            {"trainable": "all", "schedule": "plateau"},
            "plateau_patience 2 cannot fire within 3 epochs",
        ),
        ({"trainable": ["0"]}, "training 0 and the head (1 of 4 layers), 195 parameters"),
        ({"trainable": ["0"]}, "batch_norm: train has no effect"),
        (
            {"trainable": "all", "cutmix": {"probability": 1, "alpha": 1}},
            "CutMix (alpha 1) on 100 % of the batches",
        ),
    ],
)
def test_what_trains_and_what_cannot_have_an_effect_is_said(
    changes: dict[str, Any],
    words: str,
    images: Index,
    recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    said: list[str] = []
    _run(recipe(changes), images, tmp_path / "c", said)
    assert any(words in line for line in said)
