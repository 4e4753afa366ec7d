"""Writes the request log beside the answers, which never wait for it and never fail with it.

`append` puts a row into a bounded queue and returns. One thread writes what has gathered, every
20 ms: from then on the row survives the death of the process. Another one calls fsync, group after
group: from then on it survives the death of the machine; it also closes segments, and starts the
process that rolls them into Parquet. Rows that cannot be written are counted.
"""

import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from holotype.errors import UsageError
from holotype.serving.request_log.kept_images import KeptImages, keep_image
from holotype.serving.request_log.log_row import LogRow
from holotype.serving.request_log.segment_file import SegmentFile, complete_abandoned

GROUP_S = 0.02  # rows gather so long before they are written together
MAX_WAITING_ROWS = 20_000
MAX_WAITING_BYTES = 64 << 20  # of images that are to be kept
RESTART_S = 5.0  # a thread that died is started again after this time at the earliest
HOUSEKEEPING_S = 600.0  # between two looks at age and size, where no segment ends

IMAGES = "images"
LOCK = ".lock"


@dataclass(frozen=True)
class LogSettings:
    """What is logged, and for how long.

    Attributes:
        max_days: segments that are older are removed.
        max_bytes: the oldest segments are removed beyond this size of all.
        images: which images are kept; None, by default, keeps none.
    """

    max_days: float = 90.0
    max_bytes: int = 20 << 30
    images: KeptImages | None = None

    def __post_init__(self) -> None:
        if self.max_days <= 0 or self.max_bytes <= 0:
            raise UsageError(
                f"the request log is kept for {self.max_days} days and {self.max_bytes} bytes; "
                "expected numbers above 0."
            )


@dataclass(frozen=True)
class LogStatus:
    """What became of the rows since the start.

    Attributes:
        written: rows in a segment.
        dropped_full: rows that found the queue full.
        dropped_failed: rows that the disk did not take.
        waiting: rows in the queue.
        alive: whether the threads that write run.
        failures: times that writing, fsync or rolling failed.
        last_failure: what was said then; "" where nothing failed.
    """

    written: int = 0
    dropped_full: int = 0
    dropped_failed: int = 0
    waiting: int = 0
    alive: bool = True
    failures: int = 0
    last_failure: str = ""

    @property
    def dropped(self) -> int:
        return self.dropped_full + self.dropped_failed


class LogWriter:
    """The writer of one folder; several threads may append.

    Args:
        folder: made where it is missing.
        settings: retention, and what a row keeps.

    Raises:
        UsageError: another server writes into this folder.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, settings: LogSettings | None = None) -> None:
        self.folder = folder
        self.settings = settings or LogSettings()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCK, blocking=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"another server writes its request log into {str(folder)!r}; give each its own "
                "folder."
            ) from None
        complete_abandoned(folder)
        self._queue: deque[tuple[LogRow, bytes | None]] = deque()
        self._waiting_bytes = 0
        self._segment: SegmentFile | None = None
        self._ended: deque[SegmentFile] = deque()
        self._roller: subprocess.Popen[bytes] | None = None
        self._housekeeping_due_s = 0.0
        self._status = LogStatus()
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._some_waiting = threading.Event()
        self._some_written = threading.Event()
        self._started_s = 0.0
        self._writing = self._syncing = threading.Thread()
        self._start_threads()

    def append(self, row: LogRow, image: bytes | None = None) -> None:
        """Log a row soon; never blocks and never raises.

        Args:
            image: the file's bytes, which are kept only where the settings ask for it.
        """
        if not self._is_alive:
            self._start_threads()
        content = image if self.settings.images is not None else None
        size = len(content or b"")
        if len(self._queue) >= MAX_WAITING_ROWS or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._count(dropped_full=1)
            return
        self._waiting_bytes += size
        self._queue.append((row, content))
        self._some_waiting.set()

    def status(self) -> LogStatus:
        return replace(self._status, waiting=len(self._queue), alive=self._is_alive)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, and complete the segment."""
        self._stop.set()
        self._some_waiting.set()
        self._writing.join(timeout_s)
        self._some_written.set()
        self._syncing.join(timeout_s)
        self._lock.release()

    @property
    def _is_alive(self) -> bool:
        return self._writing.is_alive() and self._syncing.is_alive()

    def _start_threads(self) -> None:
        now = time.monotonic()
        if self._stop.is_set() or (self._started_s and now - self._started_s < RESTART_S):
            return
        self._started_s = now
        if not self._writing.is_alive():
            self._writing = threading.Thread(target=self._write_groups, name="log", daemon=True)
            self._writing.start()
        if not self._syncing.is_alive():
            self._syncing = threading.Thread(target=self._sync_groups, name="log-sync", daemon=True)
            self._syncing.start()

    def _write_groups(self) -> None:
        while True:
            if not self._queue:
                if self._stop.is_set():
                    break
                self._some_waiting.wait(0.5)
            self._some_waiting.clear()
            if not self._stop.is_set():
                time.sleep(GROUP_S)
            group = [self._queue.popleft() for _ in range(len(self._queue))]
            self._waiting_bytes -= sum(len(image or b"") for _, image in group)
            if group:
                try:
                    self._write(group)
                except BaseException:  # the thread dies of it, and is started again
                    self._count(dropped_failed=len(group))
                    raise
            if self._segment is not None and self._segment.is_full:
                self._end_segment()
        self._end_segment()

    def _write(self, group: list[tuple[LogRow, bytes | None]]) -> None:
        try:
            lines = [self._line(row, image) for row, image in group]
            if self._segment is not None and self._segment.is_full:
                self._end_segment()  # its name would not tell of rows that come so late
            if self._segment is None:
                self._segment = SegmentFile(self.folder)
            self._segment.write(lines)
        except OSError as error:
            self._count(dropped_failed=len(group))
            self._fail(f"{len(group)} rows were not written: {error.strerror or error}")
            self._end_segment()
            return
        self._count(written=len(group))
        self._some_written.set()

    def _line(self, row: LogRow, image: bytes | None) -> bytes:
        if image is None or row.facts is None:
            return row.to_line()
        try:
            kept = keep_image(self.folder / IMAGES, row, image)
        except OSError as error:
            self._fail(f"an image was not kept: {error.strerror or error}")
            return row.to_line()
        return replace(row, image_file=f"{IMAGES}/{kept}").to_line()

    def _end_segment(self) -> None:
        if self._segment is not None:
            self._ended.append(self._segment)
            self._segment = None
        self._some_written.set()

    def _sync_groups(self) -> None:
        synced: tuple[SegmentFile | None, int] = (None, 0)
        while True:
            self._some_written.wait(1.0)
            self._some_written.clear()
            last_round = self._stop.is_set() and not self._writing.is_alive()
            ended = len(self._ended)
            try:
                segment = self._segment
                if segment is not None and synced != (segment, segment.size):
                    synced = (segment, segment.size)
                    segment.sync()
                while self._ended:
                    self._ended.popleft().close()
            except OSError as error:
                self._fail(f"fsync: {error.strerror or error}")
            try:
                self._keep_house(now=ended > 0)
            except OSError as error:
                self._fail(f"rolling: {error.strerror or error}")
            if last_round:
                break

    def _keep_house(self, *, now: bool) -> None:
        """Roll complete segments and remove old ones, in a process of its own."""
        if self._roller is not None:
            if self._roller.poll() is None:
                if now:  # a segment that has ended meanwhile is rolled after it
                    self._housekeeping_due_s = time.monotonic()
                return
            said = self._roller.stderr.read() if self._roller.stderr else b""
            if self._roller.returncode != 0:
                lines = said.decode(errors="replace").splitlines() or ["no reason was given"]
                self._fail(f"rolling: {lines[-1]}")
            self._roller = None
        if now or time.monotonic() >= self._housekeeping_due_s:
            self._housekeeping_due_s = time.monotonic() + HOUSEKEEPING_S
            self._roller = subprocess.Popen(
                [sys.executable, "-m", "holotype.serving.request_log.roll_segments",
                 *roll_arguments(self.folder, self.settings)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip

    def _fail(self, reason: str) -> None:
        self._count(failures=1, last_failure=reason)

    def _count(self, *, last_failure: str | None = None, **more: int) -> None:
        with self._counting:
            status = self._status
            counts = {name: getattr(status, name) + number for name, number in more.items()}
            said = status.last_failure if last_failure is None else last_failure
            self._status = replace(status, last_failure=said, **counts)


def roll_arguments(folder: Path, settings: LogSettings) -> list[str]:
    """The words that `roll_segments` takes."""
    images = settings.images or KeptImages()
    limits = (settings.max_days, settings.max_bytes, images.max_days, images.max_bytes)
    return [str(folder), *map(str, limits)]
