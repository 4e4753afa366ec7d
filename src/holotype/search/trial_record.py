"""How a trial ended: one file in its directory, one row in the table of trials."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from holotype.evaluation.metrics import confusion_counts, log_loss
from holotype.files import csv_text, read_json, reading, write_json, write_text
from holotype.predictions import Predictions
from holotype.search.search_space import SearchSpace
from holotype.search_directory import TrialDirectory

TrialState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: 0 is the default recipe.
        state: `pruned` trials were worse than the median, or diverged; `failed` ones could not
            be trained.
        params: key of the space -> value, as drawn; empty for trial 0.
        accuracy, log_loss: on validation, weighted; None unless it is complete.
        epochs: validation accuracy at the end of every epoch, epoch 0 of each stage too.
        reason: why it was pruned or failed, in a line; else "".
        seconds: that it took.
    """

    number: int
    state: TrialState
    params: Mapping[str, Any] = field(default_factory=dict)
    accuracy: float | None = None
    log_loss: float | None = None
    epochs: tuple[float, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def rank(self) -> tuple[float, float, int]:
        """Ascending from the best: by accuracy, then by log loss, then the earlier one."""
        if self.accuracy is None or self.log_loss is None:
            return (np.inf, np.inf, self.number)
        return (-self.accuracy, self.log_loss, self.number)

    def write(self, directory: TrialDirectory) -> None:
        write_json(directory.record, asdict(self))


def read_record(directory: TrialDirectory) -> TrialRecord | None:
    """The record of a trial; None where it has not ended."""
    if not directory.record.is_file():
        return None
    found = read_json(directory.record)
    with reading(directory.record):
        return TrialRecord(**{**found, "epochs": tuple(found["epochs"])})


def scores(predictions: Predictions) -> dict[str, float]:
    """Accuracy and log loss of validation, weighted."""
    counted = predictions.scorable()
    return {
        "accuracy": float(confusion_counts(counted).accuracy),
        "log_loss": float(log_loss(counted)),
    }


def best_record(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The winner; None where no trial is complete."""
    complete = [record for record in records if record.state == "complete"]
    return min(complete, key=lambda record: record.rank) if complete else None


def write_table(records: Sequence[TrialRecord], space: SearchSpace, file: Path) -> None:
    """One row per trial; a key that a trial did not draw is empty.

    Times are left out, so that the same search gives the same bytes.
    """
    keys = list(dict.fromkeys(row.key for row in space.searched))
    columns: dict[str, list[Any]] = {
        "trial": [record.number for record in records],
        "state": [record.state for record in records],
        "accuracy": [record.accuracy for record in records],
        "log_loss": [record.log_loss for record in records],
        "epochs": [len(record.epochs) for record in records],
    }
    for key in keys:
        columns[key] = [_cell(record.params.get(key)) for record in records]
    columns["reason"] = [record.reason for record in records]
    write_text(file, csv_text(columns))


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value
