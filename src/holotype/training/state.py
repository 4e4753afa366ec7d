"""What changes while a stage trains, as values: rows, states and how it ended."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Epoch:
    """One row of `history.csv`; epoch 0 is the network before the first step.

    Attributes:
        train_loss: mean over the epoch, label smoothing and all; nan for epoch 0.
        val_loss: log loss on validation, without label smoothing.
        val_accuracy: weighted as the pictures are.
        learning_rate: of the topmost group that trains (of the head, where it trains alone) in
            the last step.
        trainable_parameters: how many numbers train.
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
    trainable_parameters: int
    device_memory_mb: float | None = None
    device_utilisation: float | None = None


@dataclass(frozen=True, eq=False)
class LoopState:
    """Everything that changes, as it is after an epoch, or after some steps of the next one.

    Attributes:
        epoch: the last one that is finished; 0 before the first step.
        top: tensors of the classifier that training moves, by name.
        optimiser: the state dict of the optimiser.
        schedule: numbers of the schedule, and of the scale of losses in fp16.
        best: the epoch that would ship now.
        best_top: `top` as it was then.
        lowest: of the trained epochs, what `stop_on` names (an accuracy negated).
        last_gain: the epoch of that.
        rows: all epochs so far.
        step: how many steps of the epoch after that are done.
        total: the sum of their losses.
        random: what dropout draws from after those steps; None between two epochs, where the
            numbers of the next one decide it.
    """

    epoch: int
    top: "dict[str, Tensor]"
    optimiser: dict[str, Any]
    schedule: dict[str, float | int]
    best: Epoch
    best_top: "dict[str, Tensor]"
    lowest: float
    last_gain: int
    rows: list[Epoch]
    step: int = 0
    total: float = 0.0
    random: "Tensor | None" = None


@dataclass(frozen=True)
class Ended:
    """How a stage ended.

    Attributes:
        best: the number of the epoch whose weights ship; 0: those that it began with.
        rows: all its epochs.
    """

    stage: str
    best: int
    rows: list[Epoch] = field(default_factory=list)
