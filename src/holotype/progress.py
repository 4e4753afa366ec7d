"""Log lines and progress bars, to stderr and to a log file; stdout is for results."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ProgressCallback = Callable[[int, int], None]  # (done, total)

BAR_DELAY_S = 2.0  # before a bar is shown


@dataclass(frozen=True)
class Progress:
    """Where log lines and progress bars go.

    Attributes:
        stream: for lines and bars; None for neither.
        log_file: lines are appended to it with a timestamp.
        check: called with every line and every update of a bar; it may raise, to stop the work.
    """

    stream: TextIO | None = None
    log_file: Path | None = None
    check: Callable[[], None] = lambda: None

    def log(self, line: str) -> None:
        if self.stream is not None:
            print(line, file=self.stream, flush=True)
        if self.log_file is not None:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
        self.check()

    def log_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.log(line)

    @contextmanager
    def bar(self, what: str) -> Iterator[ProgressCallback]:
        """Yield a callback that draws a bar on a terminal, elsewhere prints a line every 30 s."""
        with self._display(what) as display:

            def update(done: int, total: int) -> None:
                display(done, total)
                self.check()

            yield update

    @contextmanager
    def _display(self, what: str) -> Iterator[ProgressCallback]:
        if self.stream is None:
            yield lambda done, total: None
        elif self.stream.isatty():
            with _bar(what, self.stream) as update:
                yield update
        else:
            yield _ProgressLines(what, self.stream)


def to_stderr() -> Progress:
    """Log lines and progress bars on stderr."""
    return Progress(stream=sys.stderr)


@contextmanager
def _bar(what: str, stream: TextIO) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=Console(file=stream), transient=True,
    )  # fmt: skip
    started = time.monotonic()
    shown = False

    def update(done: int, total: int) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started < BAR_DELAY_S:
            return
        if not shown:
            bar.start()
            bar.add_task(what, total=total)
            shown = True
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield update
    finally:
        if shown:
            bar.stop()


class _ProgressLines:
    """A progress callback that prints at most one line per interval."""

    INTERVAL_S = 30.0

    def __init__(self, what: str, stream: TextIO) -> None:
        self._what = what
        self._stream = stream
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < self.INTERVAL_S or done == 0:
            return
        self._last = now
        left_s = (now - self._started) / done * (total - done)
        print(
            f"{self._what}: {done:,} of {total:,}, about {left_s:.0f} s left",
            file=self._stream, flush=True,
        )  # fmt: skip


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Such as ``1 image``, ``1,200 images`` or ``3 classes``; the plural defaults to -s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``3 min 20 s`` or ``2 h 30 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"
