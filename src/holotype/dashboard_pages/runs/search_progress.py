"""How far a search or a sweep is, as its directory says."""

import json
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from holotype.dashboard_pages.file_cache import file_signature
from holotype.dashboard_pages.runs.run_holder import held_locks, holder_of
from holotype.errors import HolotypeError
from holotype.files import read_json
from holotype.search.sweeping.sweep_plan import make_plan, planned_runs
from holotype.search.trial_record import TrialRecord, read_record
from holotype.search_directory import SearchDirectory, TrialDirectory

MAX_TRIALS = 20_000


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        state: `complete`, `pruned` or `failed`; of one that has not ended `running`, or `stopped`
            where nobody runs the search.
        accuracy, log_loss: on validation; None where it is not known.
        params: what was drawn, in one line.
    """

    number: int
    state: str
    accuracy: float | None
    log_loss: float | None
    seconds: float | None
    params: str
    reason: str


@dataclass(frozen=True)
class SweepRow:
    """One planned run of a sweep; `state` is waiting, training, stopped or finished."""

    name: str
    path: str
    state: str
    accuracy: float | None
    low: float | None
    high: float | None
    part: str


def trial_rows(
    search: SearchDirectory, kept: dict[Hashable, TrialRow], *, is_running: bool
) -> list[TrialRow]:
    """Every trial in the order of its number.

    Args:
        is_running: whether a process runs the search.
        kept: rows of trials that have ended, which do not change any more, by search and directory:
            another search may have the name of one that was removed.
    """
    if not search.trials.is_dir():
        return []
    numbers = sorted(
        int(one.name) for one in search.trials.iterdir() if one.name.isdecimal()
    )[:MAX_TRIALS]  # fmt: skip
    rows, signature = [], file_signature([search.settings])
    for number in numbers:
        directory = search.trial(number)
        key = (signature, directory.path)
        row = kept.get(key) or _trial_row(directory)
        if row.state != "running":
            kept[key] = row
        elif not is_running:
            row = replace(row, state="stopped")
        rows.append(row)
    return rows


def _trial_row(directory: TrialDirectory) -> TrialRow:
    try:
        record: TrialRecord | None = read_record(directory)
    except (OSError, ValueError, LookupError, TypeError):
        return TrialRow(directory.number, "failed", None, None, None, "", "trial.json is damaged")
    if record is None:
        epochs = _epochs(directory.epochs)
        return TrialRow(
            directory.number, "running", epochs[-1] if epochs else None, None, None, "",
            f"{len(epochs)} epochs" if epochs else "",
        )  # fmt: skip
    params = ", ".join(f"{key} {json.dumps(value)}" for key, value in record.params.items())
    return TrialRow(
        record.number, record.state, record.accuracy, record.log_loss, record.seconds,
        params or "the default recipe", record.reason,
    )  # fmt: skip


def _epochs(file: Path) -> list[float]:
    try:
        found = json.loads(file.read_bytes())
        return [float(value) for value in found]
    except (OSError, ValueError, TypeError):
        return []


def sweep_rows(sweep: Path, folder: Path) -> list[SweepRow]:
    """Every run of the plan of the last call.

    Args:
        folder: paths are relative to it.

    Raises:
        HolotypeError: the plan cannot be read.
    """
    held = held_locks()
    rows = []
    for planned in planned_runs(make_plan(read_json(sweep / "sweep.json"))):
        run = planned.directory(sweep)
        accuracy, part = {}, ""
        is_finished = (run.report / "metrics.json").is_file()
        if is_finished:
            try:
                scores = read_json(run.report / "metrics.json")
                accuracy, part = dict(scores["accuracy"]), str(scores["part"])
            except (HolotypeError, LookupError, TypeError, ValueError):
                accuracy, part = {}, "damaged"
        state = "finished" if is_finished else "stopped" if run.recipe.is_file() else "waiting"
        if holder_of(run.path, held) is not None:
            state = "training"
        path = run.path.relative_to(folder).as_posix() if run.recipe.is_file() else ""
        value, low, high = (accuracy.get(name) for name in ("value", "low", "high"))
        rows.append(SweepRow(planned.full_name, path, state, value, low, high, part))
    return rows
