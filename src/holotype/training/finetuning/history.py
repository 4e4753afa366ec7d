"""`history.csv` and `history.json`: one row per epoch of every stage."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from holotype.files import atomic_write, write_json
from holotype.training.epoch_metrics import EpochMetrics


def write_history(epochs: Sequence[EpochMetrics], path: Path) -> None:
    """Write the rows, and as JSON beside it; where no stage had epochs, the header alone."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EpochMetrics)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
    if epochs:
        write_json(path.with_suffix(".json"), [_finite(asdict(epoch)) for epoch in epochs])


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """With null for what is not known, which JSON has no number for."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
