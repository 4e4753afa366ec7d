"""Reads a span of time of the request log, with the feedback that came for it.

    rows = read_log(Path("log"), start_s, end_s, LogQuery(columns=("time", "probabilities")))
    rows["probabilities"]

Only the files whose names may hold the span are opened, and of Parquet only the columns that are
asked for. What is still JSON lines is read too.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import DatasetError, UsageError, did_you_mean
from holotype.serving.request_log.feedback_store import FEEDBACK, FEEDBACK_COLUMNS
from holotype.serving.request_log.log_row import LOG_COLUMNS, iso_time
from holotype.serving.request_log.roll_segments import file_list, json_lines, open_database
from holotype.serving.request_log.segment_file import ROLLED, segments_between

LogRows = dict[str, NDArray[Any]]  # column -> one value a row, in the order of time

LABEL_COLUMNS = ("label", "label_time")  # the latest feedback; None and NaT where there is none
_MEMORY = "700MB"
_ATTEMPTS = 5  # a segment that was listed may be rolled before it is opened


@dataclass(frozen=True)
class LogQuery:
    """Which columns and rows of a span are wanted.

    Attributes:
        columns: of `LOG_COLUMNS` and `LABEL_COLUMNS`. `time` is datetime64 in UTC,
            `probabilities` and `top_classes` are lists, `embedding` is the bytes of 16-bit floats
            (see `embeddings_ND`). Numbers are nan and words None where a row has none.
        equal: column -> the value that it must have.
        max_rows: of more rows than that, a random sample; None takes all.
        seed: of the sample.
    """

    columns: Sequence[str] = (*LOG_COLUMNS, *LABEL_COLUMNS)
    equal: Mapping[str, str | int] | None = None
    max_rows: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*LOG_COLUMNS, *LABEL_COLUMNS)
        for name in (*self.columns, *(self.equal or {})):
            if name not in known:
                raise UsageError(
                    f"the request log has no column {name!r}{did_you_mean(name, known)}"
                )


def read_log(folder: Path, start_s: float, end_s: float, query: LogQuery | None = None) -> LogRows:
    """The rows of start <= time < end, in the order of time.

    Args:
        folder: of the log.
        start_s, end_s: seconds since 1970.
        query: all columns of all rows by default.

    Returns:
        An array for each column; empty ones where there is nothing.

    Raises:
        UsageError: no column of this name.
        DatasetError: there is no log in this folder, or a file of it cannot be read.
    """
    query = query or LogQuery()
    sql, values = _select(query, start_s, end_s)
    # Feedback comes later than its answer, however late.
    log = _Source(folder, LOG_COLUMNS, start_s, end_s)
    feedback = _Source(folder / FEEDBACK, FEEDBACK_COLUMNS, start_s, float("inf"))
    found = _run(sql, values, {"log": log, "feedback": feedback})
    return {name: found[name] for name in query.columns}


def read_feedback(folder: Path, *, experiment: str | None = None) -> LogRows:
    """All feedback in the order in which it came; see `FEEDBACK_COLUMNS`.

    Args:
        experiment: only that of one comparison.

    Raises:
        DatasetError: there is no log in this folder, or a file of it cannot be read.
    """
    source = _Source(folder / FEEDBACK, FEEDBACK_COLUMNS, 0.0, float("inf"))
    condition, values = "", {}
    if experiment is not None:
        condition, values = "WHERE experiment = $experiment", {"experiment": experiment}
    return _run(f"SELECT * FROM feedback {condition} ORDER BY time", values, {"feedback": source})


@dataclass(frozen=True)
class _Source:
    """A folder of segments, the columns of its rows, and the span that is wanted."""

    folder: Path
    columns: Mapping[str, str]
    start_s: float
    end_s: float

    def sql(self) -> str:
        """SQL of all rows in the segments that may hold the span."""
        paths = segments_between(self.folder, self.start_s, self.end_s)
        rolled = [path for path in paths if path.suffix == ROLLED]
        lines = [path for path in paths if path.suffix != ROLLED]
        empty = ", ".join(f"NULL::{kind} AS {name}" for name, kind in self.columns.items())
        parts = [f"SELECT {empty} WHERE false"]  # columns that older files lack
        if rolled:
            parts.append(f"SELECT * FROM read_parquet({file_list(rolled)}, union_by_name = true)")
        if lines:
            parts.append(json_lines(lines, self.columns))
        return " UNION ALL BY NAME ".join(parts)


def _select(query: LogQuery, start_s: float, end_s: float) -> tuple[str, dict[str, Any]]:
    """The SQL of a query, and the values of its parameters."""
    values: dict[str, Any] = {
        "start": iso_time(start_s).rstrip("Z"),
        "end": iso_time(end_s).rstrip("Z"),
    }
    conditions = ["time >= $start::TIMESTAMP", "time < $end::TIMESTAMP"]
    for name, value in (query.equal or {}).items():
        conditions.append(f"{name} = $equal_{name}")
        values[f"equal_{name}"] = value
    names = [*query.columns, *(query.equal or {})]
    rows = "log"
    if any(name in LABEL_COLUMNS for name in names):
        rows = (
            "log LEFT JOIN (SELECT request_id, image, arg_max(label, time) AS label, "
            "max(time) AS label_time FROM feedback GROUP BY request_id, image) "
            "USING (request_id, image)"
        )
    wanted = ", ".join(dict.fromkeys((*query.columns, "time")))
    sql = f"SELECT {wanted} FROM {rows} WHERE {' AND '.join(conditions)}"
    if query.max_rows is not None:
        size, seed = int(query.max_rows), int(query.seed)
        sql = f"SELECT * FROM ({sql}) USING SAMPLE reservoir({size} ROWS) REPEATABLE ({seed})"
    return f"SELECT * FROM ({sql}) ORDER BY time", values


def _run(sql: str, values: Mapping[str, Any], sources: Mapping[str, _Source]) -> LogRows:
    import duckdb

    for name, source in sources.items():
        if name == "log" and not source.folder.is_dir():
            raise DatasetError(f"there is no request log {str(source.folder)!r}; check the path.")
    for attempt in range(_ATTEMPTS):
        try:
            with open_database(_MEMORY) as database:
                for name, source in sources.items():
                    database.execute(f"CREATE TEMP VIEW {name} AS {source.sql()}")
                found = database.execute(sql, dict(values)).fetchnumpy()
            return {name: _without_mask(column) for name, column in found.items()}
        except duckdb.Error as error:
            if attempt == _ATTEMPTS - 1 or not isinstance(error, duckdb.IOException):
                raise DatasetError(
                    f"the request log cannot be read: {str(error).splitlines()[0].rstrip('.')}."
                ) from error
            time.sleep(0.1)  # a segment became Parquet after it was listed
    raise AssertionError("the last attempt returns or raises")


def _without_mask(column: Any) -> NDArray[Any]:
    """Missing values as nan, NaT or None."""
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    if not column.mask.any():
        return np.asarray(column.data)
    if column.dtype.kind in "biuf":
        return np.where(column.mask, np.nan, column.data.astype(np.float64))
    if column.dtype.kind == "M":
        return np.asarray(column.filled(np.datetime64("NaT")))
    values = column.data.copy()
    values[column.mask] = None
    return np.asarray(values)
