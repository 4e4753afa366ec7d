"""`history.csv`: one row per epoch of every stage."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from holotype.files import atomic_write
from holotype.training.epoch_metrics import EpochMetrics


def write_history(epochs: Sequence[EpochMetrics], path: Path) -> None:
    """Write the rows; only the header where no stage had epochs."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpochMetrics)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
