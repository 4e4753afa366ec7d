"""A cold `holotype predict` beside a bare `import torch`, and the CPU time of `holotype --help`.

    .venv/bin/python benchmarks/cold_start.py RUN IMAGE

Processes are started in turn, A B A B …, so that both meet the same machine; medians are printed.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HOLOTYPE = str(Path(sys.executable).with_name("holotype"))


def measured(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    commands = {
        "holotype predict": [HOLOTYPE, "predict", arguments.run, arguments.image],
        "import torch": [sys.executable, "-c", "import torch"],
        "holotype --help": [HOLOTYPE, "--help"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(arguments.rounds + 1):
        for name, command in commands.items():
            times[name].append(measured(command))
    print(f"{os.cpu_count()} cores; medians of {arguments.rounds} rounds after one to warm up")
    for name, pairs in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
        print(f"{name:18} {wall:5.2f} s wall, {cpu:5.2f} s CPU")


if __name__ == "__main__":
    main()
