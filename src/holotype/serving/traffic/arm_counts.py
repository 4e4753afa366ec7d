"""Counts and latencies of one arm, in memory that does not grow."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_FIRST_MS = 0.5
_STEP = 1.1  # percentiles are exact to a tenth
_BUCKETS = 128


@dataclass
class ArmCounts:
    """What an arm did.

    Attributes:
        requests: that were answered, whatever their images were.
        images: by outcome.
        labelled, right: images whose truth is known; of those, answered rightly.
    """

    requests: int = 0
    images: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    right: int = 0
    _latencies: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    def count_image(self, outcome: str, total_ms: float) -> None:
        self.images[outcome] += 1
        bucket = round(math.log(max(total_ms, _FIRST_MS) / _FIRST_MS, _STEP))
        self._latencies[min(bucket, _BUCKETS - 1)] += 1

    def count_label(self, is_right: bool) -> None:
        self.labelled += 1
        self.right += is_right

    def latency_ms(self, percent: float) -> float | None:
        """A percentile of the time that an image took; None where there was none."""
        wanted = math.ceil(sum(self._latencies) * percent / 100)
        below = 0
        for bucket, count in enumerate(self._latencies):
            below += count
            if count and below >= wanted:
                return round(_FIRST_MS * _STEP**bucket, 2)
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "images": dict(self.images),
            "labelled": self.labelled,
            "right": self.right,
            "accuracy": self.right / self.labelled if self.labelled else None,
            "latency_ms": {f"p{percent}": self.latency_ms(percent) for percent in (50, 95, 99)},
        }
