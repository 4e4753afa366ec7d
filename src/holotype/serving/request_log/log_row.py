"""One row of the request log, and its columns on disk.

A row is an image that was answered or refused. Its columns are the same in JSON lines, where a row
lies first, and in Parquet, which the lines become.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.image_facts import ImageFacts

Arm = Literal["champion", "challenger", "shadow"]

TOP_CLASSES = 5  # names that a row keeps; it keeps the probabilities of all classes
_DIGITS = 6  # decimals of a probability


@dataclass(frozen=True)
class Timing:
    """Where the time of an answer went, in milliseconds."""

    total_ms: float
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    inference_ms: float = 0.0


@dataclass(frozen=True, eq=False)
class LogRow:
    """One image of one request, and what was answered.

    Attributes:
        request_id: of the request; several images of one request share it.
        model, version, digest: which classifier answered; version is "" outside of a registry.
        outcome: `answered`, or what the answer said instead, such as `truncated_image`.
        timing: in milliseconds.
        image: its number in the request, from 0.
        arm: `shadow` is a challenger whose answer nobody saw.
        share: of the requests that went to the challenger when this one was assigned, in [0, 1].
        experiment: which comparison of two versions it is part of; "" of none.
        key: the request key that keeps a client on one arm; only its hash is written.
        client: the name of the API key; "" where none was needed.
        top_classes: names, the likeliest first.
        probabilities: of all classes, in the classifier's order; empty where it did not answer.
        unknown: whether it is of no known class; None where the classifier does not say.
        set_size: classes in the prediction set; None where none was asked for.
        embedding_D: written as 16-bit floats; None where it is not kept.
        facts: None where the image could not be decoded.
        image_file: where the image is kept, below the folder of the log; "" by default.
        time_s: seconds since 1970, when it was answered.
    """

    request_id: str
    model: str
    version: str
    digest: str
    outcome: str
    timing: Timing
    image: int = 0
    arm: Arm = "champion"
    share: float = 0.0
    experiment: str = ""
    key: str = ""
    client: str = ""
    top_classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    unknown: bool | None = None
    set_size: int | None = None
    embedding_D: NDArray[np.float32] | None = None
    facts: ImageFacts | None = None
    image_file: str = ""
    time_s: float = field(default_factory=time.time)

    def to_line(self) -> bytes:
        """The row as one line of JSON."""
        columns: dict[str, Any] = {
            "time": iso_time(self.time_s),
            **{name: getattr(self, name) for name in _PLAIN},
            "key": hashed_key(self.key),
            "top_classes": self.top_classes[:TOP_CLASSES],
            "probabilities": [round(each, _DIGITS) for each in self.probabilities],
            "embedding": None if self.embedding_D is None else _as_base64(self.embedding_D),
        }
        columns |= {name: round(value, 3) for name, value in vars(self.timing).items()}
        if self.facts is not None:
            columns |= {f"image_{name}": value for name, value in vars(self.facts).items()}
        return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


# Column -> its type in Parquet, as DuckDB names it. `embedding` is base64 in JSON lines.
LOG_COLUMNS = {
    "time": "TIMESTAMP",
    "request_id": "VARCHAR",
    "image": "INTEGER",
    "arm": "VARCHAR",
    "share": "DOUBLE",
    "experiment": "VARCHAR",
    "key": "VARCHAR",
    "client": "VARCHAR",
    "model": "VARCHAR",
    "version": "VARCHAR",
    "digest": "VARCHAR",
    "outcome": "VARCHAR",
    "top_classes": "VARCHAR[]",
    "probabilities": "FLOAT[]",
    "unknown": "BOOLEAN",
    "set_size": "INTEGER",
    "embedding": "BLOB",
    **{f"{name}_ms": "FLOAT" for name in ("total", "queue", "decode", "inference")},
    "image_width": "INTEGER",
    "image_height": "INTEGER",
    "image_format": "VARCHAR",
    "image_bytes": "BIGINT",
    "image_brightness": "FLOAT",
    "image_sharpness": "FLOAT",
    "image_sha256": "VARCHAR",
    "image_file": "VARCHAR",
}
_PLAIN = tuple(each.name for each in fields(LogRow) if each.name in LOG_COLUMNS)


def iso_time(time_s: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, such as 2026-11-26T20:15:00.123456Z."""
    microseconds = round(time_s * 1e6)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(microseconds // 1_000_000))
    return f"{whole}.{microseconds % 1_000_000:06d}Z"


def hashed_key(key: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a request key; "" of none."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


def embeddings_ND(column: list[bytes]) -> NDArray[np.float16]:
    """The embeddings of rows of one classifier, float16 (N, D)."""
    joined = np.frombuffer(b"".join(column), "<f2")
    return joined.reshape(len(column), -1) if column else np.empty((0, 0), np.float16)


def _as_base64(embedding_D: NDArray[np.float32]) -> str:
    largest = float(np.finfo(np.float16).max)
    halves_D = np.clip(embedding_D, -largest, largest).astype("<f2")
    return base64.b64encode(halves_D.tobytes()).decode()
