"""The resources of a training: device, memory, disk, and the folder of its checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from holotype.progress import Progress
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.features.disk_budget import DiskBudget
from holotype.training.interruption import StopSignal
from holotype.training.process_group import WHOLE, Share


@dataclass(frozen=True)
class Runtime:
    """The resources of a training; they do not change its result.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        checkpoints: the directory of the stages' weights and states.
        save_memory: compute activations twice instead of keeping them.
        budget: of the feature cache; `disk_budget()` by default.
        stop_signal: when to write a state within an epoch, and whether to stop.
        on_epoch: called with every epoch of every stage, epoch 0 too, once its state is written;
            it may raise, to stop the training. A resumed run does not repeat earlier epochs.
        share: which of the processes this is that train together.
    """

    device: str
    checkpoints: Path
    progress: Progress
    save_memory: bool = False
    budget: DiskBudget | None = None
    stop_signal: StopSignal = field(default_factory=StopSignal)
    on_epoch: Callable[[EpochMetrics], None] = lambda epoch: None
    share: Share = WHOLE
