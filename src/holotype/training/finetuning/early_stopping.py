"""Which epoch is the best, and when to stop."""

from holotype.training.config.stage_config import GradientStage
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.training_state import LoopState


def is_better(now: EpochMetrics, best: EpochMetrics, stage: GradientStage) -> bool:
    """By `keep_best_by`; of equal accuracies the lower loss is better."""
    if stage.keep_best_by == "val_accuracy":
        return (-now.val_accuracy, now.val_loss) < (-best.val_accuracy, best.val_loss)
    return now.val_loss < best.val_loss


def monitored_value(now: EpochMetrics, stage: GradientStage) -> float:
    return -now.val_accuracy if stage.stop_on == "val_accuracy" else now.val_loss


def patience_exhausted(state: LoopState, stage: GradientStage) -> bool:
    return stage.patience is not None and state.epoch - state.last_improved_epoch >= stage.patience
