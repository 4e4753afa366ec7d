"""Latency with and without a challenger in shadow, in turns, at a share of the capacity.

    PYTHONPATH=src:. .venv/bin/python benchmarks/shadow_latency.py --load 0.5

Two servers of one classifier, one of them with another version in shadow, get the same Poisson
arrivals in blocks, A B B A …, so that both meet the same machine. A machine that does other work
tells nothing: the lateness of the load generator itself stands beside.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import httpx
import numpy as np

from tests.bundle.tiny import write_images
from tests.serving.load_generator import Load, http_request
from tests.serving.running import Running, running
from tests.serving.slow_bundle import write_slow

PERCENTILES = (50, 95, 99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=float, default=0.5, help="share of the capacity")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a block")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bundles = [write_slow(root / str(seed), seed).path for seed in range(2)]
        images = write_images(root / "images", 12)
        requests = [http_request("/v1/models/slow/predict", path.read_bytes()) for path in images]
        words = (bundles[0], "--workers", options.workers, "--log")
        shadow = ("--challenger", bundles[1], "--shadow")
        with (
            running(*words, root / "log-a") as plain,
            running(*words, root / "log-b", *shadow) as shadowed,
        ):
            measure({"without": plain, "shadow": shadowed}, requests, options)


def measure(
    servers: dict[str, Running], requests: list[bytes], options: argparse.Namespace
) -> None:
    capacity = min(
        asyncio.run(Load(server.port, requests).closed_loop(8, 4)).rate
        for server in servers.values()
    )
    rate = options.load * capacity
    print(f"capacity {capacity:.1f}/s, load {rate:.1f}/s")
    latency: dict[str, list[float]] = {name: [] for name in servers}
    late: list[float] = []
    for block in range(options.blocks):
        for name in sorted(servers, reverse=block % 2 == 1):
            load = Load(servers[name].port, requests)
            found = asyncio.run(load.open_loop(rate, options.seconds, seed=block))
            assert set(found.statuses) == {200}, found.statuses
            latency[name] += found.latency_s[200]
            late += found.late_s
    for name, seconds in latency.items():
        shown = ", ".join(
            f"p{percent} {np.percentile(seconds, percent) * 1000:.1f} ms" for percent in PERCENTILES
        )
        print(f"{name:8} {len(seconds):,} answers: {shown}")
    print(f"generator late: p99 {np.percentile(late, 99) * 1000:.1f} ms")
    address = f"{servers['shadow'].url}/v1/models/slow/traffic"
    arms = httpx.get(address).json()["experiment"]["arms"]
    print("shadow:", arms["shadow"]["images"])


if __name__ == "__main__":
    main()
