"""What is measured at the end of an epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """One row of `history.csv`; epoch 0 is the network before the first step.

    Attributes:
        train_loss: mean over the epoch, with label smoothing and penalties; nan for epoch 0.
        val_loss: log loss on validation, weighted, without label smoothing.
        val_accuracy: weighted, in [0, 1].
        learning_rate: in the last step, of the topmost group that trains; of the head, where it
            trains alone.
        num_trainable_parameters: weights and biases that train.
        train_accuracy: weighted, in [0, 1]: of the images as they were trained on, augmented and
            mixed, by the network of that step with its dropout; a mixed image counts as the class
            with the larger share. nan for epoch 0.
        device_memory_mb: peak memory of the device so far, in MB of 10^6 bytes; None where it
            cannot be read, as on a CPU.
        device_utilisation: in per cent, at the end of the epoch; None likewise.
        device_temperature: in degrees Celsius, at the end of the epoch; None likewise.
    """

    stage: str
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    num_trainable_parameters: int
    train_accuracy: float = math.nan  # unknown in a checkpoint that was written before it was there
    device_memory_mb: float | None = None
    device_utilisation: float | None = None
    device_temperature: float | None = None


def describe_epoch(metrics: EpochMetrics, epochs: int) -> str:
    """What was measured in an epoch: epoch 0 has no training loss; empty where nothing was."""
    measured = {
        "training loss": metrics.train_loss,
        "training accuracy": metrics.train_accuracy,
        "validation loss": metrics.val_loss,
        "validation accuracy": metrics.val_accuracy,
    }
    values = [f"{name} {value:.4f}" for name, value in measured.items() if not math.isnan(value)]
    if values and metrics.device_temperature is not None:
        values.append(f"{metrics.device_temperature:.0f} °C")
    return f"{metrics.stage} epoch {metrics.epoch}/{epochs}: {', '.join(values)}" if values else ""
