"""Log lines and progress bars, to stderr and to a log file; stdout is for results."""

import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from holotype.errors import UsageError
from holotype.text_tables import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

ProgressCallback = Callable[[int, int], None]  # (done, total)

BAR_DELAY_S = 2.0  # before a bar is shown
UNITS_S = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}

# What stands on a terminal now: the stream and its bar; of one within another only the outer.
_bars_shown: "list[tuple[TextIO, Bar]]" = []


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
        line = one_line(line)
        if self.stream is not None:
            write_message(self.stream, line)
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
    def busy(self, what: str) -> Iterator[None]:
        """Log what is done, and draw a sign of life on a terminal until it is.

        For work that cannot say how much of it is done.
        """
        self.log(what)
        if self.stream is not None and self.stream.isatty() and not _has_bar(self.stream):
            with _spinner(what, self.stream):
                yield
        else:
            yield
        self.check()

    @contextmanager
    def _display(self, what: str) -> Iterator[ProgressCallback]:
        if self.stream is None:
            yield lambda done, total: None
        elif self.stream.isatty() and not _has_bar(self.stream):
            with _bar(what, self.stream) as update:
                yield update
        else:
            yield _ProgressLines(what, self.stream)


def to_stderr() -> Progress:
    """Log lines and progress bars on stderr."""
    return Progress(stream=sys.stderr)


def default_progress() -> Progress:
    """Where nobody said otherwise: lines on stderr in a notebook, whose reader waits; else none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return to_stderr() if hasattr(shell, "kernel") else Progress()


def one_line(text: str) -> str:
    """The text as it may be printed, on one line: names may hold line breaks, too."""
    return printable(text).replace("\n", "\\n")


def write_message(stream: TextIO, text: str, *, wrap: bool = True) -> None:
    """Write lines above a bar that stands on this stream, broken between words of a terminal.

    A stream that takes no more is silenced: whoever closed it wants no messages, and the work goes
    on.

    Args:
        wrap: False for what will be copied, such as a command.
    """
    try:
        if wrap and stream.isatty():
            text = _wrapped(text, terminal_columns(stream))
        for where, bar in _bars_shown:
            if where is stream:
                bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
                return
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let what is written from now on, and the flush when the program ends, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def terminal_columns(stream: TextIO) -> int:
    """How wide the terminal of this stream is; 80 where nobody knows."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _wrapped(text: str, columns: int) -> str:
    lines = [
        textwrap.wrap(line, columns, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.split("\n")
    ]
    return "\n".join(part for parts in lines for part in parts)


def _has_bar(stream: TextIO) -> bool:
    return any(where is stream for where, _ in _bars_shown)


@contextmanager
def _shown(bar: "Bar", stream: TextIO) -> Iterator[None]:
    """The bar on its terminal; messages are written above it."""
    _bars_shown.append((stream, bar))
    bar.start()
    try:
        yield
    finally:
        bar.stop()
        _bars_shown.remove((stream, bar))


@contextmanager
def _bar(what: str, stream: TextIO) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=Console(file=stream), transient=True,
        redirect_stdout=False, redirect_stderr=stream is sys.stderr,
    )  # fmt: skip
    started = time.monotonic()
    with ExitStack() as stack:

        def update(done: int, total: int) -> None:
            if not bar.task_ids:
                if time.monotonic() - started < BAR_DELAY_S:
                    return
                bar.add_task(printable(what), total=total)
                stack.enter_context(_shown(bar, stream))
            bar.update(bar.task_ids[0], completed=done, total=total)

        yield update


@contextmanager
def _spinner(what: str, stream: TextIO) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Bar(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
        console=Console(file=stream), transient=True,
        redirect_stdout=False, redirect_stderr=stream is sys.stderr,
    )  # fmt: skip
    bar.add_task(printable(what), total=None)
    with _shown(bar, stream):
        yield


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
        write_message(
            self._stream,
            f"{printable(self._what)}: {done:,} of {total:,}, about {duration(left_s)} left",
        )


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Such as ``1 image``, ``1,200 images`` or ``3 classes``; the plural defaults to -s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def parse_duration(text: str) -> float:
    """Seconds of a text such as `90m`, `1h30m` or `7d`.

    Raises:
        UsageError: it is no duration.
    """
    part = r"(\d+(?:\.\d+)?)\s*([wdhms])\s*"
    plain = text.strip().lower()
    if not re.fullmatch(f"(?:{part})+", plain):
        raise UsageError(f"{text!r} is no duration; expected such as 90m, 1h or 1h30m.")
    return sum(float(number) * UNITS_S[unit] for number, unit in re.findall(part, plain))


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``3 min 20 s`` or ``2 h 30 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"
