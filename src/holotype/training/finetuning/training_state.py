"""The values of a gradient stage: its data, its start, its state after each epoch, its result."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holotype.training.config.recipe import TeacherRecipe
from holotype.training.data.loader import LabelledViews
from holotype.training.epoch_metrics import EpochMetrics

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class StageData:
    """Images at the cut of a stage; validation is None where it has no images."""

    train: LabelledViews
    validation: LabelledViews | None


@dataclass(frozen=True)
class TrainingSums:
    """What the finished steps of an epoch sum to.

    Attributes:
        loss: of their losses.
        correct: the weight of the images that were classified correctly while they were trained on.
        weight: of all their images.
    """

    loss: float = 0.0
    correct: float = 0.0
    weight: float = 0.0

    def plus(self, loss: float, correct: float, weight: float) -> "TrainingSums":
        return TrainingSums(self.loss + loss, self.correct + correct, self.weight + weight)

    @property
    def accuracy(self) -> float:
        """In [0, 1]; nan without images."""
        return self.correct / self.weight if self.weight else math.nan


@dataclass(frozen=True, eq=False)
class LoopState:
    """Everything that changes, after an epoch or after some steps of the next one.

    Attributes:
        epoch: the last finished epoch; 0 before the first step.
        trainable_state: tensors of the classifier that training changes, by name.
        optimiser: the state dict of the optimiser.
        schedule: the state of the schedule, and of the loss scale in fp16.
        best_metrics: of the best epoch so far.
        best_trainable_state: `trainable_state` after that epoch.
        lowest_monitored: the lowest value of `stop_on` (an accuracy negated) in a trained epoch.
        last_improved_epoch: the epoch of that value.
        rows: all epochs so far.
        step: finished steps of the next epoch.
        sums: what they sum to.
    """

    epoch: int
    trainable_state: "dict[str, Tensor]"
    optimiser: dict[str, Any]
    schedule: dict[str, float | int]
    best_metrics: EpochMetrics
    best_trainable_state: "dict[str, Tensor]"
    lowest_monitored: float
    last_improved_epoch: int
    rows: list[EpochMetrics]
    step: int = 0
    sums: TrainingSums = TrainingSums()


@dataclass(frozen=True, eq=False)
class StageStart:
    """Where a stage starts.

    Attributes:
        seed: of the order of the images, their views, mixing and dropout.
        number: of the stage in its recipe; another stage draws other dropout.
        head_is_trained: whether the head was trained before; else it has random weights.
        resume: the state to go on from.
        teacher: how much the answers of a teacher count, where there is one.
        last_epoch: where to end, on a schedule that is as long as ever; None: as the stage says.
    """

    seed: int
    number: int = 0
    head_is_trained: bool = True
    resume: LoopState | None = None
    teacher: TeacherRecipe | None = None
    last_epoch: int | None = None


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Attributes:
        best_epoch: the epoch whose weights ship; 0 for those that the stage started from.
        rows: all its epochs.
    """

    stage: str
    best_epoch: int
    rows: list[EpochMetrics] = field(default_factory=list)
