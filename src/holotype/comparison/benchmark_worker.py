"""Measure the speed and memory of one bundle: JSON on standard input, JSON on standard output.

{"bundle": PATH, "files": [PATH, …]}  ->  {"images_per_second", "latency_seconds", "memory_bytes"}
"""

import json
import statistics
import sys
import time
from typing import Any

from holotype.bundle.bundle import load_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.comparison.cost import peak_memory_bytes

NUM_WARMUP = 3  # images before measuring, so that graphs are loaded and memory is allocated
NUM_ROUNDS = 2  # over all images; the fastest counts, since disturbances only slow down
NUM_SINGLE = 12  # images predicted one by one


def benchmark_bundle(bundle_path: str, files: list[str]) -> dict[str, Any]:
    """Images per second, median latency and peak memory, with decoding and without a cache."""
    bundle = load_bundle(bundle_path)
    for file in files[:NUM_WARMUP]:
        predict_images(bundle, image_sources([file]), workers=1)

    def seconds(paths: list[str], workers: int | None) -> float:
        started = time.perf_counter()
        predict_images(bundle, image_sources(paths), workers=workers)
        return time.perf_counter() - started

    alone = [seconds([file], 1) for file in files[:NUM_SINGLE]]
    together = min(seconds(files, None) for _ in range(NUM_ROUNDS))
    return {
        "images_per_second": len(files) / together,
        "latency_seconds": statistics.median(alone),
        "memory_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    request = json.load(sys.stdin)
    print(json.dumps(benchmark_bundle(request["bundle"], request["files"])))
