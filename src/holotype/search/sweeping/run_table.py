"""How far a sweep is: a live table in a terminal, elsewhere a line for every change."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holotype.evaluation.build_report import build_report
from holotype.executors.job_sheet import JobResult, OnChange
from holotype.pipeline.training_run.resume import is_finished
from holotype.predictions import read_predictions
from holotype.progress import Progress, duration
from holotype.reporting.plot_labels import truncate_middle
from holotype.run_directory import RunDirectory
from holotype.text_tables import printable

if TYPE_CHECKING:
    from rich.table import Table

MAX_ROWS = 20  # of a live table, which has to fit a screen
REFRESH_PER_SECOND = 2.0


@dataclass(frozen=True)
class RunRow:
    """One run of a sweep.

    Attributes:
        name: DATA/RUN.
        state: `waiting`, `running`, `done` or `failed`.
        seconds: of its process in this call; None where it had none.
        accuracy: on validation, or what it is reported on, with its interval; "" before.
        reason: why it failed.
    """

    name: str
    state: str
    seconds: float | None = None
    accuracy: str = ""
    reason: str = ""

    @classmethod
    def of(cls, name: str, run: RunDirectory, result: JobResult | None = None) -> "RunRow":
        """What is known from the run and the process that trained it."""
        if is_finished(run):
            row = cls(name, "done", accuracy=_accuracy(run))
            return row if result is None else replace(row, seconds=result.seconds)
        if result is None or result.state != "failed":
            return cls(name, "waiting")
        return cls(name, "failed", result.seconds, reason=result.reason)


def _accuracy(run: RunDirectory) -> str:
    """On validation, which chooses; test is for the comparison at the end."""
    file = run.predictions / "val.parquet"
    if not file.is_file():
        return ""
    return str(build_report(read_predictions(file), part="val")["accuracy"])


@contextmanager
def run_table(
    progress: Progress, rows: Sequence[RunRow], missing: Sequence[str]
) -> Iterator[OnChange]:
    """Yield what is called with the results of the missing runs, in their order."""
    board = _Board(list(rows), list(missing))
    if progress.stream is not None and progress.stream.isatty():
        from rich.console import Console
        from rich.live import Live

        console = Console(file=progress.stream)
        with Live(console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True) as live:

            def update(results: Sequence[JobResult]) -> None:
                board.take(results)
                live.update(board.table(console.width))
                progress.check()

            update([JobResult()] * len(missing))
            yield update
        return

    def tell(results: Sequence[JobResult]) -> None:
        for line in board.take(results):
            progress.log(line)
        progress.check()

    yield tell


class _Board:
    """The rows as they are, and since when each runs."""

    def __init__(self, rows: list[RunRow], missing: list[str]) -> None:
        self.rows = {row.name: row for row in rows}
        self._missing = missing
        self._began: dict[str, float] = {}
        self._started = time.monotonic()

    def take(self, results: Sequence[JobResult]) -> list[str]:
        """Take the results over; a line for each that changed."""
        lines = []
        for name, result in zip(self._missing, results, strict=True):
            before = self.rows[name]
            if result.state == "running":
                self._began.setdefault(name, time.monotonic())
            seconds = result.seconds if result.state in ("done", "failed") else None
            self.rows[name] = replace(
                before, state=result.state, seconds=seconds, reason=result.reason
            )
            if result.state != before.state and result.state != "waiting":
                lines.append(_line(self.rows[name]))
        return lines

    def table(self, width: int) -> "Table":
        """As wide as the terminal, and no longer than MAX_ROWS."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, width=min(width, 100), title_justify="left")
        table.title = self._summary()
        table.add_column("run", no_wrap=True, overflow="ellipsis", ratio=3)
        table.add_column("state", no_wrap=True, width=7)
        table.add_column("time", no_wrap=True, justify="right", width=13)
        table.add_column("", no_wrap=True, overflow="ellipsis", ratio=2)
        shown = sorted(self.rows.values(), key=lambda row: _ORDER.index(row.state))[:MAX_ROWS]
        for row in shown:
            said = printable(row.reason or row.accuracy)
            style = _STYLES.get(row.state, "")
            name = truncate_middle(row.name, max(16, width // 2))
            table.add_row(Text(name), Text(row.state, style), self._time(row), Text(said))
        if len(self.rows) > len(shown):
            table.add_row(f"… {len(self.rows) - len(shown):,} more", "", "", "")
        return table

    def _summary(self) -> str:
        states = [row.state for row in self.rows.values()]
        counts = [f"{states.count(state)} {state}" for state in _ORDER if state in states]
        return f"{', '.join(counts)} · {duration(time.monotonic() - self._started)}"

    def _time(self, row: RunRow) -> str:
        if row.state == "running" and row.name in self._began:
            return duration(time.monotonic() - self._began[row.name])
        return "" if row.seconds is None else duration(row.seconds)


_ORDER = ("running", "failed", "done", "waiting")
_STYLES = {"running": "cyan", "failed": "red", "done": "green"}


def _line(row: RunRow) -> str:
    """One line on a run that changed."""
    if row.state == "failed":
        return f"{row.name}: failed: {row.reason}"
    return f"{row.name}: {row.state}" + (f" in {duration(row.seconds)}" if row.seconds else "")
