"""Rows for tests of the request log."""

import time

import numpy as np

from holotype.dataset.image_facts import ImageFacts
from holotype.serving.request_log.log_row import LogRow, Timing

FACTS = ImageFacts(40, 30, "PNG", 1234, 0.5, 0.2, "ab" * 32)


def row(number: int, **changes: object) -> LogRow:
    fields: dict[str, object] = {
        "request_id": f"r{number:06d}",
        "model": "cells",
        "version": "3",
        "digest": "d" * 64,
        "outcome": "answered",
        "timing": Timing(12.5, 1.0, 4.0, 7.0),
        "key": f"client-{number % 7}",
        "top_classes": ("crack", "dark"),
        "probabilities": (0.25, 0.7, 0.05),
        "unknown": False,
        "embedding_D": np.linspace(-1, number, 8, dtype=np.float32),
        "facts": FACTS,
        "time_s": time.time(),
    }
    return LogRow(**{**fields, **changes})
