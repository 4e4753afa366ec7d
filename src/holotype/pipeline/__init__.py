"""The verbs, composed of the rooms above; each file reads from top to bottom.

Names are imported when they are first used: `holotype.load` must not import what training needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holotype.pipeline.training_run.dry_run import DryRun
    from holotype.pipeline.training_run.single_run import TrainedRun
    from holotype.pipeline.training_run.train import train
    from holotype.pipeline.training_run.train_variants import (
        VariantRow,
        list_variants,
        train_variants,
    )

_MODULES = {
    "DryRun": "training_run.dry_run",
    "TrainedRun": "training_run.single_run",
    "VariantRow": "training_run.train_variants",
    "list_variants": "training_run.train_variants",
    "train": "training_run.train",
    "train_variants": "training_run.train_variants",
}

__all__ = [
    "DryRun",
    "TrainedRun",
    "VariantRow",
    "list_variants",
    "train",
    "train_variants",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'holotype.pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(f"holotype.pipeline.{_MODULES[name]}"), name)
