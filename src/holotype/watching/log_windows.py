"""Windows of the request log: so many images, or so much time.

Shape suffixes: N images.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.image_facts import FACTS
from holotype.errors import UsageError
from holotype.progress import parse_duration
from holotype.serving.request_log.log_row import embeddings_ND as as_array
from holotype.serving.request_log.read_log import LogQuery, LogRows, read_log
from holotype.serving.request_log.segment_file import TIME_SLACK_S, opened_at, segments
from holotype.watching.watched_images import WatchedImages

GroupBy = Literal["auto", "request", "key", "client", "none"]

MAX_IMAGES = 1000  # of a window; of more, a random sample
SETTLE_S = 2.0  # rows are on disk by then
_FIRST_SPAN_S = 3600.0
_COLUMNS = (
    "time", "request_id", "image", "key", "client", "outcome", "probabilities", "unknown",
    "set_size", "embedding", "image_width", "image_height", "image_bytes", "image_brightness",
    "image_sharpness", "image_format", "image_file", "total_ms",
)  # fmt: skip


@dataclass(frozen=True)
class WindowSize:
    """How long a window is: one of both is given.

    Attributes:
        images: answered and refused ones.
        span_s: seconds.
    """

    images: int | None = None
    span_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> "WindowSize":
        """`200` images, or a time such as `1d`.

        Raises:
            UsageError: neither.
        """
        if text.isdigit() and 20 <= int(text) <= MAX_IMAGES:
            return cls(images=int(text))
        if not text.isdigit():
            return cls(span_s=seconds_in(text, "--window"))
        raise UsageError(
            f"--window is {text} images; expected 20 to {MAX_IMAGES}, or a time such as 1d."
        )


def seconds_in(text: str, option: str) -> float:
    """Seconds of a time such as `90s`, `1h30m` or `1d`.

    Raises:
        UsageError: it is none, or no time at all.
    """
    try:
        seconds = parse_duration(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    if not seconds:
        raise UsageError(f"{option} is {text}; expected a time above 0.")
    return seconds


@dataclass(frozen=True, eq=False)
class LogWindow:
    """One window.

    Attributes:
        start_s, end_s: it holds the rows of start <= time < end, in seconds since 1970.
        first_s, last_s: times of its first and last row.
        images: those that were answered.
        rows: of the log, answered or not.
        request_ids, image_numbers: of the answered images.
        files: where they are kept below the log; "" where they are not.
        num_rows: how many rows there were, also where only a sample was read.
    """

    start_s: float
    end_s: float
    first_s: float
    last_s: float
    images: WatchedImages
    rows: LogRows
    request_ids: list[str]
    image_numbers: list[int]
    files: list[str]
    num_rows: int


@dataclass(frozen=True)
class WatchedLog:
    """The rows of one bundle in a request log.

    Attributes:
        folder: of the log.
        digest: of the bundle.
        size: of windows.
        group_by: what images of a window are not independent: those of one request key, or of one
            request where it had none (`auto`); those of one `request`, `key` or `client`.
    """

    folder: Path
    digest: str
    size: WindowSize
    group_by: GroupBy = "auto"

    def beginning_s(self) -> float | None:
        """Before all rows of the log, in seconds since 1970; None of an empty log."""
        found = segments(self.folder)
        return opened_at(found[0]) - TIME_SLACK_S if found else None

    def windows(self, start_s: float, now_s: float | None = None) -> Iterator[LogWindow]:
        """The complete windows since a time, one after the other; empty ones are passed over."""
        until_s = (time.time() if now_s is None else now_s) - SETTLE_S
        if self.size.span_s is not None:
            # Windows of a time begin at whole multiples of it, whoever asks when.
            begin_s = np.floor(start_s / self.size.span_s) * self.size.span_s
            while begin_s + self.size.span_s <= until_s:
                window = self.read(begin_s, begin_s + self.size.span_s)
                if window.num_rows:
                    yield window
                begin_s += self.size.span_s
            return
        assert self.size.images is not None
        for first_s, end_s in self._spans_of_images(start_s, until_s, self.size.images):
            yield self.read(first_s, end_s)

    def _spans_of_images(
        self, start_s: float, until_s: float, count: int
    ) -> Iterator[tuple[float, float]]:
        """Spans that hold so many rows; more where several have the time of the last."""
        span_s = _FIRST_SPAN_S
        while start_s < until_s:
            end_s = min(start_s + span_s, until_s)
            query = LogQuery(("time",), equal={"digest": self.digest})
            times = _microseconds(read_log(self.folder, start_s, end_s, query)["time"])
            begin = 0
            while begin + count <= len(times):
                upto = int(np.searchsorted(times, times[begin + count - 1], "right"))
                if upto == len(times) and end_s < until_s:
                    break  # rows of the same time may follow beyond this span
                yield times[begin] / 1e6, (times[upto - 1] + 1) / 1e6
                begin = upto
            if begin:
                start_s = (times[begin - 1] + 1) / 1e6
            elif end_s < until_s:
                span_s *= 2
            else:
                return

    def read(self, start_s: float, end_s: float) -> LogWindow:
        """The rows of a span as one window; of more than `MAX_IMAGES`, a sample."""
        only = {"digest": self.digest}
        count = LogQuery(("time",), equal=only)
        times = _microseconds(read_log(self.folder, start_s, end_s, count)["time"])
        query = LogQuery(_COLUMNS, equal=only, max_rows=MAX_IMAGES, seed=int(start_s))
        if len(times) <= MAX_IMAGES:
            query = LogQuery(_COLUMNS, equal=only)
        rows = read_log(self.folder, start_s, end_s, query)
        answered = np.array([len(each) > 0 for each in rows["probabilities"]], np.bool_)
        kept = {name: column[answered] for name, column in rows.items()}
        return LogWindow(
            start_s=start_s,
            end_s=end_s,
            first_s=times[0] / 1e6 if len(times) else start_s,
            last_s=times[-1] / 1e6 if len(times) else end_s,
            images=self._table(kept),
            rows={name: rows[name] for name in ("time", "outcome", "total_ms")},
            request_ids=kept["request_id"].tolist(),
            image_numbers=kept["image"].tolist(),
            files=[file or "" for file in kept["image_file"].tolist()],
            num_rows=len(times),
        )

    def _table(self, rows: LogRows) -> WatchedImages:
        N = len(rows["time"])
        probabilities = [np.asarray(each, np.float64) for each in rows["probabilities"]]
        embeddings = rows["embedding"].tolist()
        complete = N > 0 and all(embeddings) and len({len(each) for each in embeddings}) == 1
        return WatchedImages(
            probabilities_NC=np.stack(probabilities) if N else np.empty((0, 0)),
            embeddings_ND=as_array(embeddings).astype(np.float32) if complete else None,
            unknown_N=_floats(rows["unknown"]),
            set_size_N=_floats(rows["set_size"]),
            facts={name: _floats(rows[f"image_{name}"]) for name in FACTS},
            format_N=np.array([each or "" for each in rows["image_format"]], np.str_),
            targets_N=np.full(N, -1, np.int64),
            groups_N=np.array(self._groups(rows), np.str_),
            names_N=np.full(N, ""),
        )

    def _groups(self, rows: LogRows) -> list[str]:
        requests = [f"request {name}" for name in rows["request_id"]]
        if self.group_by == "none":
            return [f"{n}" for n in range(len(requests))]
        if self.group_by == "request":
            return requests
        column = rows["client" if self.group_by == "client" else "key"]
        named = zip(column, requests, strict=True)
        return [f"{name}" if name else request for name, request in named]


def _floats(column: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if each is None else float(each) for each in column], np.float64)


def _microseconds(times: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(times.astype("datetime64[us]").astype(np.int64))
