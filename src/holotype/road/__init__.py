"""The composer: the one place where rooms meet, in the order of the road.

One file for each way along it; every file reads from top to bottom like the drawing in
docs/architecture.md.
"""

from holotype.road.assembled import EnsembleRun, build_ensemble
from holotype.road.evaluated import evaluate_on
from holotype.road.rehearsed import DryRun
from holotype.road.series import VariantRow, list_variants, train_variants
from holotype.road.trained import TrainedRun, train

__all__ = [
    "EnsembleRun",
    "DryRun",
    "TrainedRun",
    "VariantRow",
    "build_ensemble",
    "evaluate_on",
    "train",
    "train_variants",
    "list_variants",
]
