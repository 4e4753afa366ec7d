"""The resources of a training: device, memory, disk, and the folder of its checkpoints."""

from dataclasses import dataclass, field
from pathlib import Path

from holotype.progress import Progress
from holotype.training.features.disk_budget import DiskBudget
from holotype.training.interruption import StopSignal


@dataclass(frozen=True)
class Runtime:
    """The resources of a training; they do not change its result.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        checkpoints: the directory of the stages' weights and states.
        save_memory: compute activations twice instead of keeping them.
        budget: of the feature cache; `disk_budget()` by default.
        stop_signal: when to write a state within an epoch, and whether to stop.
    """

    device: str
    checkpoints: Path
    progress: Progress
    save_memory: bool = False
    budget: DiskBudget | None = None
    stop_signal: StopSignal = field(default_factory=StopSignal)
