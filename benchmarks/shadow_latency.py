"""Latency with and without a challenger in shadow, in turns, at a share of the capacity.

    PYTHONPATH=src:. .venv/bin/python benchmarks/shadow_latency.py --load 0.5

Three servers of one classifier, one of them with another version in shadow, get the same Poisson
arrivals in blocks, A B C C B A …, so that all meet the same machine. The second plain server shows
what the machine itself does to the ratio; intervals of 95 % are from a bootstrap over the blocks.
The lateness of the load generator stands beside.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

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
            running(*words, root / "log-b") as again,
            running(*words, root / "log-c", *shadow) as shadowed,
        ):
            servers = {"without": plain, "again": again, "shadow": shadowed}
            measure(servers, requests, options)


def measure(
    servers: dict[str, Running], requests: list[bytes], options: argparse.Namespace
) -> None:
    capacity = min(
        asyncio.run(Load(server.port, requests).closed_loop(8, 4)).rate
        for server in servers.values()
    )
    rate = options.load * capacity
    print(f"capacity {capacity:.1f}/s, load {rate:.1f}/s")
    latency: dict[str, list[list[float]]] = {name: [] for name in servers}  # of each block
    late: list[float] = []
    for block in range(options.blocks):
        for name in list(servers)[:: 1 if block % 2 else -1]:
            load = Load(servers[name].port, requests)
            found = asyncio.run(load.open_loop(rate, options.seconds, seed=block))
            assert set(found.statuses) == {200}, found.statuses
            latency[name].append(found.latency_s[200])
            late += found.late_s
    for name, blocks in latency.items():
        print(f"{name:8} {sum(map(len, blocks)):,} answers: {described(blocks)}")
        if name != "without":
            print(f"{'':8} beside the first: {compared(blocks, latency['without'])}")
    print(f"generator late: p99 {np.percentile(late, 99) * 1000:.1f} ms")
    address = f"{servers['shadow'].url}/v1/models/slow/traffic"
    arms = httpx.get(address).json()["experiment"]["arms"]
    print("shadow:", arms["shadow"]["images"])


def described(blocks: list[list[float]]) -> str:
    found = np.percentile(np.concatenate(blocks), PERCENTILES) * 1000
    return ", ".join(f"p{p} {ms:.1f} ms" for p, ms in zip(PERCENTILES, found, strict=True))


def compared(blocks: list[list[float]], others: list[list[float]]) -> str:
    """Ratios of percentiles, with intervals over the blocks."""

    def ratios(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        mine, theirs = (
            np.percentile(np.concatenate([one[k] for k in chosen]), PERCENTILES)
            for one in (blocks, others)
        )
        return np.asarray(mine / theirs)

    rng = np.random.default_rng(0)
    found = ratios(np.arange(len(blocks)))
    drawn = [ratios(rng.integers(len(blocks), size=len(blocks))) for _ in range(1000)]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return ", ".join(
        f"p{p} {ratio:.3f} [{a:.3f}, {b:.3f}]"
        for p, ratio, a, b in zip(PERCENTILES, found, low, high, strict=True)
    )


if __name__ == "__main__":
    main()
