"""How close the feature pass comes to the floor that the machine sets.

    .venv/bin/python benchmarks/feature_speed.py

The floor for one image is t_session + t_decode / cores: the time of the network alone, on all
cores, and of decoding alone on one core, shared among all. Both are measured here, alone, in the
same run as the pass itself, three times over; the medians are compared.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from holotype.bundle.onnx_runtime import available_cores, open_session, run_graph
from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import fetch
from holotype.progress import Progress
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = read_index(fetch("elpv", Path(folder) / "elpv"))
    index.table["split"] = "train"
    recipe = resolve_recipe("linear")
    graph = PretrainedBackbone(recipe, index, Progress()).graph(EMBEDDING)
    preprocessing = recipe.preprocessing
    files = [index.file(path) for path in index.table["path"][: arguments.images]]
    inputs = [preprocessing.load(file) for file in files[:64]]
    all_cores, one_core = open_session(graph, threads=available_cores()), open_session(graph)
    name = one_core.get_inputs()[0].name

    def session_alone() -> None:
        for number in range(0, len(files), 8):
            batch = np.stack([inputs[(number + k) % len(inputs)] for k in range(8)])
            all_cores.run([EMBEDDING], {name: batch})

    def decode_alone() -> None:
        for file in files:
            content = file.read_bytes()
            hashlib.sha256(content).hexdigest()
            preprocessing.load(content, name=file.name)

    def feature_pass() -> None:
        def load(position: int) -> np.ndarray:
            content = files[position].read_bytes()
            hashlib.sha256(content).hexdigest()
            return preprocessing.load(content, name=files[position].name)

        for _ in run_graph(one_core, len(files), load, outputs=[EMBEDDING]):
            pass

    session_alone()
    shares = []
    for _ in range(arguments.rounds):
        n = len(files)
        t_session, t_decode = seconds(session_alone) / n, seconds(decode_alone) / n
        t_pass = seconds(feature_pass) / n
        floor = t_session + t_decode / available_cores()
        shares.append(floor / t_pass)
        print(
            f"session {1e3 * t_session:.2f} ms, decode {1e3 * t_decode:.2f} ms on one core: "
            f"floor {1 / floor:.0f} images/s; the pass reaches {1 / t_pass:.0f}: "
            f"{100 * shares[-1]:.0f} %"
        )
    print(f"median share of the floor: {100 * statistics.median(shares):.0f} %")


if __name__ == "__main__":
    main()
