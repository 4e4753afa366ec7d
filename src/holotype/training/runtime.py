"""What a training runs on: device, memory, disk, and where its checkpoints go."""

from dataclasses import dataclass, field
from pathlib import Path

from holotype.progress import Progress
from holotype.training.features.cache_budget import DiskBudget
from holotype.training.interruption import StopSignal


@dataclass(frozen=True)
class Runtime:
    """What a training runs on; nothing of it changes what comes out.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        checkpoints: the directory for what each stage leaves, and goes on from.
        save_memory: activations are computed twice instead of held.
        budget: disk for kept activations; the usual one unless said otherwise.
        stop_signal: when a state is written within an epoch, and whether to stop.
    """

    device: str
    checkpoints: Path
    progress: Progress
    save_memory: bool = False
    budget: DiskBudget | None = None
    stop_signal: StopSignal = field(default_factory=StopSignal)
