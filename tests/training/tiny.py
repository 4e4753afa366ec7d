"""A tiny network and what it learns from."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from holotype.architectures.torch_classifier import Backbone, TorchClassifier
from holotype.progress import Progress
from holotype.training.config.stage_config import GradientStage, Trainable
from holotype.training.data.loader import LabelledViews
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.gradient_step import Callbacks
from holotype.training.finetuning.layer_selection import (
    LayerSelection,
    select_for_stage,
    select_layers,
)
from holotype.training.finetuning.training_loop import train_loop
from holotype.training.finetuning.training_state import (
    LoopState,
    StageData,
    StageResult,
    StageStart,
)
from holotype.training.heads.training_data import TrainingData
from holotype.training.interruption import StopSignal
from holotype.training.training_resources import Runtime


class Arrays:
    """Views of images that are in memory: (N, V, …)."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, images: list[int], views: list[int]) -> NDArray[np.float32]:
        return self.values[images, views]


def stage(**changes: object) -> GradientStage:
    fields: dict[str, object] = {
        "method": "gradient_descent", "trainable": 2, "views": 2, "epochs": 4, "batch_size": 16,
        "learning_rate": 1e-2, "head_learning_rate": 1e-2, "warmup": 0.1, "patience": 3,
    }  # fmt: skip
    return GradientStage.model_validate(fields | changes)


def classifier(seed: int = 0, head: nn.Module | None = None) -> TorchClassifier:
    torch.manual_seed(seed)
    groups: dict[str, nn.Module] = {
        "low": nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        "middle": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        "high": nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    }
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made = TorchClassifier(Backbone(groups, pool), 16, 3)
    if head is not None:
        made.head = head
    return made.eval()


def data(count: int, seed: int, shape: tuple[int, ...] = (8, 6, 6)) -> LabelledViews:
    """Noise in two views; the class is the channel that is brighter."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=count)
    values = rng.normal(size=(count, 2, *shape)).astype(np.float32)
    values[np.arange(count), :, targets] += 1.0
    return LabelledViews(Arrays(values), targets, np.ones(count, np.float32))


def selection(network: TorchClassifier, trainable: Trainable) -> LayerSelection:
    return select_layers(network.backbone, trainable)


def train(
    network: TorchClassifier,
    how: GradientStage,
    *,
    resume: LoopState | None = None,
    states: list[LoopState] | None = None,
    rows: list[EpochMetrics] | None = None,
    save_memory: bool = False,
    validated: bool = True,
    seed: int = 0,
    head_is_trained: bool = True,
    stop_signal: StopSignal | None = None,
) -> StageResult:
    """96 images to train on and 48 to look at, as activations at the cut of the stage."""
    what = select_for_stage(network.backbone, how)
    shape = {None: (16,), 0: (3, 6, 6)}.get(what.cut, (8, 6, 6))
    runtime = Runtime(
        "cpu", Path(), Progress(), save_memory=save_memory, stop_signal=stop_signal or StopSignal()
    )
    callbacks = Callbacks(
        on_checkpoint=(states if states is not None else []).append,
        on_epoch=(rows if rows is not None else []).append,
    )
    images = StageData(data(96, 1, shape), data(48, 2, shape) if validated else None)
    start = StageStart(seed, head_is_trained=head_is_trained, resume=resume)
    return train_loop(network, what, how, images, start, runtime, callbacks)


def unweighted(features: NDArray[np.float32], targets: NDArray[np.int64]) -> TrainingData:
    """Images of weight 1 without groups, of all classes up to the highest number."""
    count = len(targets)
    return TrainingData(
        features, targets, np.ones(count), [""] * count, num_classes=int(targets.max()) + 1
    )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


NETWORK = """
from torch import nn

def build(width=8):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(),
    )

def other():
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
"""
