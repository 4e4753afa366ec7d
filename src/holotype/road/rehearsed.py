"""`train --dry-run`: everything before training, a batch of each stage, and what it would take."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.narration import Narrator
from holotype.road.left_out import leave_out
from holotype.road.order import Order, peak_memory_mb
from holotype.road.shipped import require_validation

if TYPE_CHECKING:
    from holotype.dataset.index import Index
    from holotype.training.rehearsal import Cost


@dataclass(frozen=True)
class Rehearsal:
    """What a training would take here, or with folds all trainings together.

    Attributes:
        trainings: how many pictures of each part, for every training; what is excluded counts in
            none.
        costs: of the pieces of work of all trainings.
        memory_mb: the most that this process held; activations of one batch are in it.
    """

    trainings: list[dict[str, int]]
    costs: "list[Cost]"
    memory_mb: float | None

    @property
    def seconds(self) -> float:
        """Of all trainings."""
        return sum(cost.seconds for cost in self.costs)

    def to_json(self) -> dict[str, Any]:
        return {
            "trainings": self.trainings,
            "stages": [vars(cost) for cost in self.costs],
            "seconds": self.seconds,
            "disk_bytes": sum(cost.disk_bytes for cost in self.costs),
            "memory_mb": self.memory_mb,
        }


def rehearse(order: Order, index: "Index", folds: int | None) -> Rehearsal:
    """Split and leave out as `train` would, time a batch of each stage, and leave no run behind.

    Args:
        folds: as many trainings, one for each.

    Raises:
        HolotypeError: what `train` would raise before it begins to learn.
    """
    from holotype.training.descent import Means
    from holotype.training.rehearsal import rehearse as rehearse_stages

    dealt = _dealt(order, index, folds)
    # Every training of a fold says what it leaves out; once is enough here.
    narrators = [order.narrator, *[Narrator()] * (len(dealt) - 1)]
    left = [
        leave_out(one, order.exclude, narrator)
        for one, narrator in zip(dealt, narrators, strict=True)
    ]
    for one, _ in left:
        require_validation(order.recipe, one)
    order.narrator.say("timing a batch of every stage")
    with tempfile.TemporaryDirectory() as nowhere:
        means = Means(order.device, Path(nowhere), Narrator(), save_memory=order.save_memory)
        costs = rehearse_stages(order.recipe, [one for one, _ in left], means)
    return Rehearsal([_counts(one, set(out)) for one, out in left], costs, peak_memory_mb())


def _dealt(order: Order, index: "Index", num_folds: int | None) -> "list[Index]":
    """The split of every training."""
    if num_folds is None:
        return [order.split(index)[0]]
    from holotype.road.folded import dealt_for, in_folds

    index, _ = in_folds(order, index, num_folds)
    return [dealt_for(order, index, fold) for fold in range(num_folds)]


def _counts(index: "Index", left_out: set[str]) -> dict[str, int]:
    """The pictures of each part; those of test that are left out are still in the index."""
    from holotype.dataset.split import parts_of

    return {
        part: int((~index.part(part).table["path"].isin(left_out)).sum())
        for part in parts_of(index)
    }
