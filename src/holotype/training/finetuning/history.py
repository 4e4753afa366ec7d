"""`history.csv` and `history.json`: one row per epoch of every stage; CSV after every epoch."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from holotype.files import atomic_write, write_json
from holotype.training.epoch_metrics import EpochMetrics


def write_history(epochs: Sequence[EpochMetrics], path: Path) -> None:
    """Write the rows, and as JSON beside it; where no stage had epochs, the header alone."""
    rows = [asdict(epoch) for epoch in epochs]
    _write_csv(rows, path)
    if rows:
        write_json(path.with_suffix(".json"), [_finite(row) for row in rows])


def _write_csv(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        names = [field.name for field in fields(EpochMetrics)]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """With null for what is not known, which JSON has no number for."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def history_writer(path: Path) -> Callable[[EpochMetrics], None]:
    """What adds an epoch to the file, so that a training can be watched while it goes on.

    Rows of an earlier process, which this one resumes, are kept up to the epoch that it repeats.
    """

    def add(epoch: EpochMetrics) -> None:
        rows = _rows(path)
        this = (epoch.stage, str(epoch.epoch))
        places = [n for n, row in enumerate(rows) if (row.get("stage"), row.get("epoch")) == this]
        _write_csv([*(rows[: places[0]] if places else rows), asdict(epoch)], path)

    return add


def _rows(path: Path) -> list[dict[str, object]]:
    """What was written so far; nothing where there is no file, or another one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [dict(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        return []
