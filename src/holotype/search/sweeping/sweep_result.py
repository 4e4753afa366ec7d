"""A sweep as a value: its runs, and the recommended one of every data set."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.comparison.result import Comparison
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import duration, pluralize
from holotype.search.sweeping.run_table import RunRow
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("run", "state", "time", "validation accuracy")


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(os.PathLike[str]):
    """What `sweep` trained.

    Attributes:
        path: the folder of the sweep.
        rows: one of every run that was asked for.
        comparisons: of the finished runs, by data set.
        notes: what could not be compared, in sentences.
    """

    path: Path
    rows: tuple[RunRow, ...]
    comparisons: Mapping[str, Comparison]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> list[RunRow]:
        """The runs that failed in this call."""
        return [row for row in self.rows if row.state == "failed"]

    @property
    def is_complete(self) -> bool:
        """Whether every run that was asked for is finished."""
        return all(row.state == "done" for row in self.rows)

    @property
    def recommended(self) -> dict[str, Path]:
        """The run to ship, by data set; chosen on validation."""
        return {
            name: comparison.selected.path
            for name, comparison in self.comparisons.items()
            if comparison.selected is not None
        }

    def sentences(self) -> list[str]:
        """Which run is recommended for each data set, and why."""
        found = [
            f"{name}: {comparison.selection_sentence()}"
            for name, comparison in self.comparisons.items()
        ]
        return [*found, *self.notes]

    def table(self) -> list[tuple[str, ...]]:
        return [
            (
                row.name, row.state, "" if row.seconds is None else duration(row.seconds),
                row.accuracy or row.reason,
            )
            for row in self.rows
        ]  # fmt: skip

    def to_frame(self) -> "pd.DataFrame":
        """One row per run: name, state, seconds, accuracy, reason."""
        names = ("name", "state", "seconds", "accuracy", "reason")
        return data_frame({name: [getattr(row, name) for row in self.rows] for name in names})

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": str(self.path),
            "runs": [asdict(row) for row in self.rows],
            "recommended": {name: str(path) for name, path in self.recommended.items()},
            "selection": str(self.path / "selection.json"),
            "notes": list(self.notes),
        }

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        most = max(1, TEXT_ROWS - len(self.comparisons))
        table = text_table(HEADER, self.table(), max_rows=most)
        return short_text(f"Sweep {self.path}", table, *self.sentences())

    def _repr_html_(self) -> str:
        table = html_table(HEADER, self.table())
        return html_result(f"Sweep {self.path}", table, notes=self.sentences())


@dataclass(frozen=True)
class SweepEstimate:
    """What a sweep would still run, and for how long.

    Attributes:
        seconds: of every run that is missing, by its name.
        jobs: at once.
    """

    seconds: Mapping[str, float]
    jobs: int

    @property
    def total_seconds(self) -> float:
        """Of the whole, if the jobs do not slow each other down."""
        total, longest = sum(self.seconds.values()), max(self.seconds.values(), default=0.0)
        return max(total / self.jobs, longest)

    def lines(self) -> str:
        """A table for a terminal."""
        if not self.seconds:
            return "every run is finished already"
        rows = [(name, duration(seconds)) for name, seconds in self.seconds.items()]
        total = duration(self.total_seconds)
        told = f"{pluralize(len(rows), 'run')}, {pluralize(self.jobs, 'job')} at once: {total}"
        return f"{text_table(('run', 'time'), rows)}\n{told}"

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": dict(self.seconds), "jobs": self.jobs, "total_seconds": self.total_seconds
        }  # fmt: skip
