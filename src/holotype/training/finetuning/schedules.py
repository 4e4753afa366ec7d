"""Learning-rate schedules: a factor on the peak rate for every step."""

import math
from dataclasses import dataclass

from holotype.training.config.stage_config import GradientStage


@dataclass
class Schedule:
    """The factor on the peak rate of every group.

    Linear warm-up over the first `warmup` of all steps, never from zero; then a cosine to zero
    (Loshchilov & Hutter 2017, without restarts), a step down every `step_epochs`, a step down when
    the validation loss no longer falls (plateau), or a constant.

    Attributes:
        steps_per_epoch: steps of the optimiser.
        plateau_scale: the product of the plateaus' factors so far.
        num_bad_epochs: epochs since the lowest validation loss.
    """

    stage: GradientStage
    steps_per_epoch: int
    plateau_scale: float = 1.0
    num_bad_epochs: int = 0
    lowest_val_loss: float = math.inf

    def factor(self, step: int) -> float:
        """The factor, in (0, 1]; `step` counts from 0 over the whole stage."""
        steps = self.stage.epochs * self.steps_per_epoch
        warmup_steps = round(steps * self.stage.warmup)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if self.stage.schedule == "cosine":
            progress = (step - warmup_steps) / max(1, steps - warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        if self.stage.schedule == "step":
            assert self.stage.step_epochs is not None
            assert self.stage.step_factor is not None
            epochs = step // self.steps_per_epoch
            return self.stage.step_factor ** (epochs // self.stage.step_epochs)
        return self.plateau_scale

    def after_epoch(self, val_loss: float) -> None:
        """Update a plateau; the other schedules ignore it."""
        if self.stage.schedule != "plateau":
            return
        assert self.stage.plateau_factor is not None
        assert self.stage.plateau_patience is not None
        if val_loss < self.lowest_val_loss:
            self.lowest_val_loss, self.num_bad_epochs = val_loss, 0
        else:
            self.num_bad_epochs += 1
        if self.num_bad_epochs > self.stage.plateau_patience:
            self.plateau_scale, self.num_bad_epochs = (
                self.plateau_scale * self.stage.plateau_factor,
                0,
            )

    def state_dict(self) -> dict[str, float | int]:
        """What changes from epoch to epoch."""
        return {
            "plateau_scale": self.plateau_scale,
            "num_bad_epochs": self.num_bad_epochs,
            "lowest_val_loss": self.lowest_val_loss,
        }

    def load_state_dict(self, numbers: dict[str, float | int]) -> None:
        """Restore what `state_dict` returned."""
        self.plateau_scale = float(numbers["plateau_scale"])
        self.num_bad_epochs = int(numbers["num_bad_epochs"])
        self.lowest_val_loss = float(numbers["lowest_val_loss"])
