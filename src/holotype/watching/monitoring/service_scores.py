"""What of the service is watched: errors and slow answers, against limits; traffic is reported.

Latencies and errors come in bursts, so they are not compared with earlier ones but with a limit.

Shape suffixes: N rows of the log.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import UsageError
from holotype.serving.request_log.read_log import LogRows
from holotype.watching.monitoring.image_scores import SERVICE_PART
from holotype.watching.monitoring.monitors import Watched

SLOW_SHARE = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ServiceLimits:
    """What the service must keep.

    Attributes:
        max_errors: percentage of images that may be refused or fail.
        slow_ms: an answer that takes longer is slow; at most 5 % may be.
    """

    max_errors: float = 5.0
    slow_ms: float = 1000.0

    def __post_init__(self) -> None:
        if not 0 < self.max_errors < 100:
            raise UsageError(f"--max-errors is {self.max_errors:g}; expected a percentage.")
        if self.slow_ms <= 0:
            raise UsageError(f"--slow-ms is {self.slow_ms:g}; expected milliseconds above 0.")

    def watched(self) -> list[Watched]:
        """The monitors."""
        return [
            Watched("errors", "service", SERVICE_PART / 2, limit=self.max_errors / 100),
            Watched("slow answers", "service", SERVICE_PART / 2, limit=SLOW_SHARE),
        ]

    def scores(self, rows: LogRows) -> dict[str, Floats]:
        """Name -> 0 or 1 (N) for each row."""
        answered_N = is_answered_N(rows)
        slow_N = np.asarray(rows["total_ms"], np.float64) > self.slow_ms
        return {
            "errors": (~answered_N).astype(np.float64),
            "slow answers": slow_N[answered_N].astype(np.float64),
        }


def is_answered_N(rows: LogRows) -> NDArray[np.bool_]:
    """Which rows have an answer."""
    return np.array([outcome == "answered" for outcome in rows["outcome"]], np.bool_)


def service_facts(rows: LogRows, span_s: float) -> dict[str, Any]:
    """Errors, latency and traffic of one window, for the report."""
    answered_N = is_answered_N(rows)
    times_N = np.asarray(rows["total_ms"], np.float64)[answered_N]
    median, p95 = np.quantile(times_N, [0.5, 0.95]) if len(times_N) else (None, None)
    return {
        "images": len(answered_N),
        "error_share": float(1 - answered_N.mean()) if len(answered_N) else 0.0,
        "median_ms": None if median is None else float(median),
        "p95_ms": None if p95 is None else float(p95),
        "images_per_hour": len(answered_N) / max(span_s, 1.0) * 3600,
    }
