"""What the processes do that do not own the run: train its gradient stages with the first one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.architectures.profiling import embedding_size as measure_embedding_size
from holotype.architectures.pruning import prune_backbone
from holotype.architectures.torch_classifier import TorchClassifier
from holotype.errors import Terminated, TrainingDiverged
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage
from holotype.training.finetuning.layer_selection import LayerSelection
from holotype.training.finetuning.training_loop import train_loop
from holotype.training.finetuning.training_state import StageData, StageStart
from holotype.training.interruption import StopSignal
from holotype.training.process_group import (
    TrainingEnded,
    join_processes,
    leave_processes,
    process_share,
    receive,
)
from holotype.training.training_resources import Runtime


@dataclass(frozen=True, eq=False)
class StageTask:
    """A gradient stage as the first process hands it to the others.

    Attributes:
        weights: of the classifier when the stage starts.
    """

    recipe: Recipe
    embedding_size: int
    num_classes: int
    weights: dict[str, Tensor]
    selection: LayerSelection
    stage: GradientStage
    data: StageData
    start: StageStart


def follow_stages(device: str, *, save_memory: bool) -> Any:
    """Train every stage that the first process sends, until it ends.

    Returns:
        The result of the first process.

    Raises:
        SystemExit: the first process failed, and has said why.
        ProcessLost: another process ended.
    """
    join_processes(device)
    try:
        while not isinstance(task := receive(), TrainingEnded):
            _train(task, device, save_memory=save_memory)
    finally:
        leave_processes()
    if task.result is None:
        raise SystemExit(1)
    return task.result


def _train(task: StageTask, device: str, *, save_memory: bool) -> None:
    classifier = untrained_classifier(task.recipe, task.embedding_size, task.num_classes)
    classifier.load_state_dict(task.weights)
    stop_signal = StopSignal()
    runtime = Runtime(
        device, Path(), Progress(), save_memory=save_memory, stop_signal=stop_signal,
        share=process_share(),
    )  # fmt: skip
    try:
        with stop_signal.handling_sigterm():
            train_loop(classifier, task.selection, task.stage, task.data, task.start, runtime)
    except (TrainingDiverged, Terminated):
        return  # so it is in the first process, which says so


def untrained_classifier(
    recipe: Recipe, embedding_size: int | None, num_classes: int
) -> TorchClassifier:
    """The network of a recipe with random weights, for a checkpoint that holds every tensor.

    Args:
        embedding_size: of the backbone; None where only the network itself knows.
    """
    weights = find_weights(recipe.model, NONE, recipe.model_options)
    backbone = build_backbone(
        recipe.model, weights, recipe.image_size, seed=recipe.seed, options=recipe.model_options
    )
    if recipe.pruning is not None:
        prune_backbone(backbone, recipe.image_size, recipe.pruning, recipe.model)
    size = embedding_size or measure_embedding_size(backbone, recipe.image_size)
    return TorchClassifier(backbone, size, num_classes, recipe.head_spec)
