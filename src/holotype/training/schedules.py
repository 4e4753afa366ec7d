"""How the learning rate moves: a factor on the peak rate, for every step."""

import math
from dataclasses import dataclass

from holotype.training.stages import GradientStage


@dataclass
class Schedule:
    """The factor on the peak rate of every group.

    Rises linearly over the first `warmup` of all steps, never starting at zero; then a cosine to
    zero (Loshchilov & Hutter 2017, without restarts), a step down after every so many epochs, a
    plateau (down when the validation loss no longer falls), or nothing.

    Attributes:
        steps_per_epoch: steps of the optimiser.
        plateau: the factor that plateaus left so far.
        waited: epochs since the validation loss was at its lowest.
        lowest: that loss.
    """

    stage: GradientStage
    steps_per_epoch: int
    plateau: float = 1.0
    waited: int = 0
    lowest: float = math.inf

    def factor(self, step: int) -> float:
        """In (0, 1], for step 0, 1, … of the whole stage."""
        steps = self.stage.epochs * self.steps_per_epoch
        rising = round(steps * self.stage.warmup)
        if step < rising:
            return (step + 1) / rising
        if self.stage.schedule == "cosine":
            progress = (step - rising) / max(1, steps - rising)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        if self.stage.schedule == "step":
            assert self.stage.step_epochs is not None
            assert self.stage.step_factor is not None
            epochs = step // self.steps_per_epoch
            return self.stage.step_factor ** (epochs // self.stage.step_epochs)
        return self.plateau

    def after_epoch(self, val_loss: float) -> None:
        """What a plateau learns from an epoch; the others need nothing."""
        if self.stage.schedule != "plateau":
            return
        assert self.stage.plateau_factor is not None
        assert self.stage.plateau_patience is not None
        if val_loss < self.lowest:
            self.lowest, self.waited = val_loss, 0
        else:
            self.waited += 1
        if self.waited > self.stage.plateau_patience:
            self.plateau, self.waited = self.plateau * self.stage.plateau_factor, 0

    def numbers(self) -> dict[str, float | int]:
        """All that changes from epoch to epoch."""
        return {"plateau": self.plateau, "waited": self.waited, "lowest": self.lowest}

    def take(self, numbers: dict[str, float | int]) -> None:
        """Go on from `numbers`."""
        self.plateau = float(numbers["plateau"])
        self.waited = int(numbers["waited"])
        self.lowest = float(numbers["lowest"])
