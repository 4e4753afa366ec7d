"""How far a training is: its epochs, its last lines, and the time that is left."""

import csv
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from holotype.dashboard_pages.runs.run_holder import holder_of
from holotype.errors import HolotypeError
from holotype.run_directory import RunDirectory
from holotype.training.config.yaml_files import read_mapping

LAST_LINES = 12
LOG_BYTES = 64 << 10  # from the end of the log
COLUMNS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate")
_EPOCH = re.compile(r"^(\S+) (.+) epoch (\d+)/(\d+):")


@dataclass(frozen=True)
class TrainingProgress:
    """What is on disk of a training.

    Attributes:
        state: `finished`, `training`, or `stopped`: it has no report and no process.
        process: that trains it, where it is of this machine.
        epochs: rows of history.csv: stage, epoch, and the columns of `COLUMNS`; None where nan.
        stage_epochs: of every stage with epochs, how many it has at most, in order.
        seconds_left: of all epochs that may follow, at the pace of the last ones; None: unknown.
        last_lines: of the log, without their times.
    """

    state: str
    process: int | None
    epochs: tuple[dict[str, Any], ...]
    stage_epochs: tuple[tuple[str, int], ...]
    seconds_left: float | None
    last_lines: tuple[str, ...]


def training_progress(path: Path) -> TrainingProgress:
    """Read how far a run is; what is damaged or missing is left out."""
    run = RunDirectory(path)
    process = holder_of(path)
    is_finished = (run.report / "index.html").is_file() or (run.report / "metrics.json").is_file()
    state = "training" if process is not None else "finished" if is_finished else "stopped"
    stages = _stage_epochs(run)
    lines = _last_lines(run.log)
    return TrainingProgress(
        state=state,
        process=process,
        epochs=tuple(read_epochs(run.history)),
        stage_epochs=stages,
        seconds_left=_seconds_left(lines, stages) if state == "training" else None,
        last_lines=tuple(text for _, text in lines[-LAST_LINES:]),
    )


def read_epochs(history: Path) -> list[dict[str, Any]]:
    """The rows of a history.csv with the columns that are drawn; none where it cannot be read."""
    try:
        with history.open(newline="", encoding="utf-8") as file:
            return [
                {
                    "stage": row["stage"],
                    "epoch": int(row["epoch"]),
                    **{name: _number(row.get(name)) for name in COLUMNS},
                }
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return []


def _number(text: str | None) -> float | None:
    value = float(text or "nan")  # a column that is younger than the run is missing
    return value if value == value else None  # JSON has no nan


def _stage_epochs(run: RunDirectory) -> tuple[tuple[str, int], ...]:
    try:
        stages = read_mapping(run.recipe).get("stages", [])
        return tuple(
            (str(stage["name"]), int(stage["epochs"])) for stage in stages if "epochs" in stage
        )
    except (HolotypeError, LookupError, TypeError, ValueError, AttributeError):
        return ()


def _last_lines(log: Path) -> list[tuple[str, str]]:
    """(time, text) of the end of a log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.splitlines()[1 if size > LOG_BYTES else 0 :]
    parts = [line.partition(" ") for line in lines]
    return [(time, rest) for time, _, rest in parts]


def _seconds_left(
    lines: list[tuple[str, str]], stages: tuple[tuple[str, int], ...]
) -> float | None:
    """At the pace of the last epochs of this stage; early stopping may end it sooner."""
    found = [(match, time) for time, text in lines if (match := _EPOCH.match(f"{time} {text}"))]
    names = [name for name, _ in stages]
    if not found or found[-1][0][2] not in names:
        return None
    stage = found[-1][0][2]
    of_stage = [(int(match[3]), _seconds(match[1])) for match, _ in found if match[2] == stage][-6:]
    (first, began), (last, now) = of_stage[0], of_stage[-1]
    if last <= first or began is None or now is None:
        return None
    to_come = stages[names.index(stage)][1] - last
    to_come += sum(count for _, count in stages[names.index(stage) + 1 :])
    return max(0.0, (now - began) / (last - first) * to_come)


def _seconds(time: str) -> float | None:
    try:
        return datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None
