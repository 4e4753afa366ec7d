"""Which epoch ships, and when a training has waited long enough."""

from typing import TYPE_CHECKING

from holotype.training.stages import GradientStage

if TYPE_CHECKING:
    from holotype.training.state import Epoch, LoopState


def is_better(now: "Epoch", best: "Epoch", stage: GradientStage) -> bool:
    """Of equal accuracies the one with the lower loss."""
    if stage.keep_best_by == "val_accuracy":
        return (-now.val_accuracy, now.val_loss) < (-best.val_accuracy, best.val_loss)
    return now.val_loss < best.val_loss


def what_stops(now: "Epoch", stage: GradientStage) -> float:
    return -now.val_accuracy if stage.stop_on == "val_accuracy" else now.val_loss


def has_waited(state: "LoopState", stage: GradientStage) -> bool:
    return stage.patience is not None and state.epoch - state.last_gain >= stage.patience
