"""`train --dry-run`: everything before training, a batch of each stage, and what it would take."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.narration import Narrator
from holotype.road.order import Order, peak_memory_mb

if TYPE_CHECKING:
    from holotype.dataset.index import Index
    from holotype.training.rehearsal import Cost


@dataclass(frozen=True)
class Rehearsal:
    """What a training would take here.

    Attributes:
        parts: how many pictures of each part.
        costs: of its pieces of work.
        num_runs: trainings of this kind: with folds there are several.
        memory_mb: the most that this process held; activations of one batch are in it.
    """

    parts: dict[str, int]
    costs: "list[Cost]"
    num_runs: int
    memory_mb: float | None

    @property
    def seconds(self) -> float:
        """Of all runs."""
        return self.num_runs * sum(cost.seconds for cost in self.costs)

    def to_json(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "runs": self.num_runs,
            "stages": [vars(cost) for cost in self.costs],
            "seconds": self.seconds,
            "disk_bytes": sum(cost.disk_bytes for cost in self.costs),
            "memory_mb": self.memory_mb,
        }


def rehearse(order: Order, index: "Index", folds: int | None) -> Rehearsal:
    """Split as `train` would, time a batch of each stage, and leave no run behind."""
    from holotype.dataset.split import parts_of
    from holotype.training.descent import Means
    from holotype.training.rehearsal import rehearse as rehearse_stages

    index, _ = order.split(index)
    order.narrator.say("timing a batch of every stage")
    with tempfile.TemporaryDirectory() as nowhere:
        means = Means(order.device, Path(nowhere), Narrator(), save_memory=order.save_memory)
        costs = rehearse_stages(order.recipe, index, means)
    return Rehearsal(
        parts={name: len(index.part(name)) for name in parts_of(index)},
        costs=costs,
        num_runs=folds or 1,
        memory_mb=peak_memory_mb(),
    )
