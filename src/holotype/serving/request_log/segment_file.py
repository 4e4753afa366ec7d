"""Segments: files of JSON lines of one span of time, which their names begin with.

    20261126T201500.123Z-1f3a9c02.open      being written
    20261126T201500.123Z-1f3a9c02.jsonl     complete
    20261126T201500.123Z-1f3a9c02.parquet   the same rows, once they are rolled

A row is in exactly one segment, and a segment that is there twice counts once, as Parquet: so a
process may be killed between any two steps.
"""

import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

OPEN, COMPLETE, ROLLED = ".open", ".jsonl", ".parquet"
MAX_SEGMENT_S = 15 * 60.0
MAX_SEGMENT_BYTES = 64 << 20
# A row may be written so much later than its time says, and a clock may be set back.
TIME_SLACK_S = 10 * 60.0

_TIME = "%Y%m%dT%H%M%S.%f"


class SegmentFile:
    """The segment that is being written; not for two threads at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).strftime(_TIME)[:-3]
        self.path = folder / f"{now}Z-{uuid.uuid4().hex[:8]}{OPEN}"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        self._opened_s, self._opened_wall_s = time.monotonic(), time.time()
        self.size = 0

    @property
    def is_full(self) -> bool:
        # One clock stands still while a machine sleeps, and the other one may be set.
        by_wall_s = abs(time.time() - self._opened_wall_s)
        age_s = max(time.monotonic() - self._opened_s, by_wall_s)
        return self.size >= MAX_SEGMENT_BYTES or (self.size > 0 and age_s >= MAX_SEGMENT_S)

    def write(self, lines: Sequence[bytes]) -> None:
        """Append whole lines, or none of them; after an error nothing more should be written.

        Raises:
            OSError: the disk is full or gone.
        """
        content = memoryview(b"".join(lines))
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError:
            with suppress(OSError):  # else the torn line stays, and is skipped by who reads it
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(content)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Mark the segment as complete; one without rows is removed."""
        if self._descriptor < 0:
            return
        try:
            if self.size:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
            self._descriptor = -1
        if self.size:
            self.path.rename(self.path.with_suffix(COMPLETE))
        else:
            self.path.unlink()


def complete_abandoned(folder: Path) -> None:
    """Mark the open segments of a process that was killed as complete."""
    for path in folder.glob(f"*{OPEN}"):
        path.rename(path.with_suffix(COMPLETE))


def segments(folder: Path) -> list[Path]:
    """Every segment once, in the order of time; Parquet where it is there twice."""
    by_stem: dict[str, Path] = {}
    for suffix in (OPEN, COMPLETE, ROLLED):  # a later one replaces an earlier one
        by_stem |= {path.stem: path for path in folder.glob(f"*Z-*{suffix}")}
    return [by_stem[stem] for stem in sorted(by_stem)]


def segments_between(folder: Path, start_s: float, end_s: float) -> list[Path]:
    """The segments that may hold rows of start <= time < end, told by their names."""
    return [
        path
        for path in segments(folder)
        if (opened_s := opened_at(path)) - TIME_SLACK_S < end_s
        and opened_s + MAX_SEGMENT_S + TIME_SLACK_S >= start_s
    ]


def opened_at(path: Path) -> float:
    """When a segment was opened, by its name, in seconds since 1970."""
    return datetime.strptime(path.stem.partition("Z-")[0], _TIME).replace(tzinfo=UTC).timestamp()
