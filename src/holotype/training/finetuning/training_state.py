"""What changes while a stage trains, as values: rows, states and how it ended."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EpochMetrics:
    """One row of `history.csv`; epoch 0 is the network before the first step.

    Attributes:
        train_loss: mean over the epoch, label smoothing and all; nan for epoch 0.
        val_loss: log loss on validation, without label smoothing.
        val_accuracy: weighted as the images are.
        learning_rate: of the topmost group that trains (of the head, where it trains alone) in
            the last step.
        num_trainable_parameters: how many numbers train.
        device_memory_mb: the most that the device held until then, in MB of 10^6 bytes; None where
            it cannot be read, as on a CPU.
        device_utilisation: in per cent, at the end of the epoch; None likewise.
    """

    stage: str
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    num_trainable_parameters: int
    device_memory_mb: float | None = None
    device_utilisation: float | None = None


@dataclass(frozen=True, eq=False)
class LoopState:
    """Everything that changes, as it is after an epoch, or after some steps of the next one.

    Attributes:
        epoch: the last one that is finished; 0 before the first step.
        trainable_state: tensors of the classifier that training moves, by name.
        optimiser: the state dict of the optimiser.
        schedule: numbers of the schedule, and of the scale of losses in fp16.
        best_metrics: the epoch that would ship now.
        best_trainable_state: `trainable_state` as it was then.
        lowest_monitored: of the trained epochs, what `stop_on` names (an accuracy negated).
        last_improved_epoch: the epoch of that.
        rows: all epochs so far.
        step: how many steps of the epoch after that are done.
        loss_sum: the sum of their losses.
        rng_state: what dropout draws from after those steps; None between two epochs, where the
            numbers of the next one decide it.
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
    loss_sum: float = 0.0
    rng_state: "Tensor | None" = None


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Attributes:
        best_epoch: the number of the epoch whose weights ship; 0: those that it began with.
        rows: all its epochs.
    """

    stage: str
    best_epoch: int
    rows: list[EpochMetrics] = field(default_factory=list)
