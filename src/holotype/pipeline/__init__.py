"""The composer: the one place where rooms meet, in the order of the road.

One file for each way along it; every file reads from top to bottom like the drawing in
docs/architecture.md.
"""

from holotype.pipeline.training_run.dry_run import DryRun
from holotype.pipeline.training_run.single_run import TrainedRun
from holotype.pipeline.training_run.train import train
from holotype.pipeline.training_run.train_variants import VariantRow, list_variants, train_variants

__all__ = [
    "DryRun",
    "TrainedRun",
    "VariantRow",
    "list_variants",
    "train",
    "train_variants",
]
