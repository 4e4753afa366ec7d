"""Feedback: the true class of an image that was answered, by the id of its request.

A row keeps beside the truth what had been answered, so that an experiment can be replayed from
feedback alone. It is on disk before `add` returns: a label is dearer than an answer.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.serving.request_log.log_row import Arm, iso_time
from holotype.serving.request_log.segment_file import SegmentFile, complete_abandoned

FEEDBACK = "feedback"  # the folder, below that of the log


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """The truth of one image, and what had been answered.

    Attributes:
        request_id, image: of the answer.
        label: the true class; "" where it is not known yet.
        client: the name of the API key that sent the truth.
        arm, share, experiment, model, digest: of the answer that was given; see `LogRow`.
        key: hash of its request key, or of its request where it had none.
        predicted: the class that was answered; "" where the request is not remembered.
        shadow_digest, shadow_predicted: the same of a challenger in shadow; "" without one.
        answered_s: when it was answered, in seconds since 1970; 0 where it is not remembered.
        time_s: when the truth came.
    """

    request_id: str
    image: int
    label: str
    client: str = ""
    arm: Arm = "champion"
    share: float = 0.0
    experiment: str = ""
    key: str = ""
    model: str = ""
    digest: str = ""
    predicted: str = ""
    shadow_digest: str = ""
    shadow_predicted: str = ""
    answered_s: float = 0.0
    time_s: float = field(default_factory=time.time)

    def to_line(self) -> bytes:
        """The row as one line of JSON."""
        columns = {
            "time": iso_time(self.time_s),
            **{name: getattr(self, name) for name in _PLAIN},
            "answered": iso_time(self.answered_s) if self.answered_s else None,
        }
        return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


FEEDBACK_COLUMNS = {
    "time": "TIMESTAMP",
    "request_id": "VARCHAR",
    "image": "INTEGER",
    "label": "VARCHAR",
    "client": "VARCHAR",
    "arm": "VARCHAR",
    "share": "DOUBLE",
    "experiment": "VARCHAR",
    "key": "VARCHAR",
    "model": "VARCHAR",
    "digest": "VARCHAR",
    "predicted": "VARCHAR",
    "shadow_digest": "VARCHAR",
    "shadow_predicted": "VARCHAR",
    "answered": "TIMESTAMP",
}


def feedback_rows(columns: Mapping[str, NDArray[Any]]) -> Iterator[FeedbackRow]:
    """Rows as `read_log.read_feedback` gives them."""
    for n in range(len(columns["request_id"])):
        values = {name: columns[name][n] for name in _PLAIN}
        answered_s, time_s = (seconds_of(columns[name][n]) for name in ("answered", "time"))
        yield FeedbackRow(**values, answered_s=answered_s, time_s=time_s)


def seconds_of(time: np.datetime64) -> float:
    """A time of the log in seconds since 1970; 0 where there is none."""
    return 0.0 if np.isnat(time) else float(time.astype("datetime64[us]").astype(np.int64)) / 1e6


_PLAIN = tuple(each.name for each in fields(FeedbackRow) if each.name in FEEDBACK_COLUMNS)


class FeedbackStore:
    """Feedback below the folder of a log; several threads may add.

    The folder is locked by the `LogWriter` of the same log, which must have been opened first.
    """

    def __init__(self, log_folder: Path) -> None:
        self._folder = log_folder / FEEDBACK
        self._folder.mkdir(parents=True, exist_ok=True)
        complete_abandoned(self._folder)
        self._segment: SegmentFile | None = None
        self._lock = threading.Lock()

    def add(self, rows: list[FeedbackRow]) -> None:
        """Write rows, and return when they are on disk.

        Raises:
            OSError: the disk is full or gone; none of the rows was written.
        """
        with self._lock:
            if self._segment is not None and self._segment.is_full:
                self._close()  # its name would not tell of rows that come so late
            if self._segment is None:
                self._segment = SegmentFile(self._folder)
            segment = self._segment
            try:
                segment.write([row.to_line() for row in rows])
                segment.sync()
            except OSError:
                with suppress(OSError):
                    self._close()  # a line may be torn: the next one begins in a new file
                raise
            if segment.is_full:
                self._close()

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()
