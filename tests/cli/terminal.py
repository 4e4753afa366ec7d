"""A terminal of so many columns, and what stands on it after a program has run."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

ROWS = 50


@dataclass(frozen=True)
class Session:
    """What a program left.

    Attributes:
        code: its exit code.
        lines: of the screen and of what has scrolled away above it, without blanks at their ends.
        frames: the screen after every piece of output.
        raw: every byte that was written.
    """

    code: int
    lines: list[str]
    frames: list[list[str]]
    raw: bytes

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def in_terminal(
    words: Sequence[object],
    *,
    columns: int = 80,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Session:
    """Run `python WORDS…` in a pseudo-terminal."""
    screen = pyte.HistoryScreen(columns, ROWS, history=2000, ratio=1)
    stream = pyte.ByteStream(screen)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    cleared = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in cleared}
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdin=child, stdout=child, stderr=child, cwd=cwd, start_new_session=True,
        env=kept | {"TERM": "xterm-256color"} | dict(environment or {}),
    )  # fmt: skip
    os.close(child)
    raw, frames = b"", []
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        raw += piece
        stream.feed(piece)
        frames.append([line.rstrip() for line in screen.display])
    os.close(parent)
    above = [
        "".join(line[column].data for column in range(columns)).rstrip()
        for line in screen.history.top
    ]
    lines = [*above, *(line.rstrip() for line in screen.display)]
    while lines and not lines[-1]:
        lines.pop()
    return Session(process.wait(), lines, frames, raw)
