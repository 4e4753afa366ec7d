"""The composer: the one place where rooms meet, in the order of the road.

One file for each way along it; every file reads from top to bottom like the drawing in
docs/architecture.md.
"""

from holotype.road.assembled import AssembledRun, ensemble
from holotype.road.evaluated import evaluate_on
from holotype.road.rehearsed import Rehearsal
from holotype.road.series import VariantRow, train_variants, variants_of
from holotype.road.trained import TrainedRun, train

__all__ = [
    "AssembledRun",
    "Rehearsal",
    "TrainedRun",
    "VariantRow",
    "ensemble",
    "evaluate_on",
    "train",
    "train_variants",
    "variants_of",
]
