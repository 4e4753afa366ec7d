"""`history.csv`: one row per epoch of every stage."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from holotype.files import replacing
from holotype.training.state import Epoch


def write_history(epochs: Sequence[Epoch], path: Path) -> None:
    """Write the rows; only the header where no stage had epochs."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
