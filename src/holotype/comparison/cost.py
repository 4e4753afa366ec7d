"""What a classifier costs: numbers in its graphs, bytes, time to train and to answer, memory.

Speed, latency and memory are measured, one bundle after the other, each in a process of its own, so
that none finds what another has loaded or kept. Times of different machines or days say nothing
beside each other, so nothing is taken from an earlier measurement.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.run_directory import RunDirectory

TIMEOUT_S = 900


@dataclass(frozen=True)
class RunCost:
    """None where it is not known.

    Attributes:
        parameters: numbers that the shipped graphs hold: weights, biases, support vectors.
        size_bytes: of the bundle's files.
        training_seconds: see `training_seconds`.
        images_per_second: decoding, preprocessing and network, on all cores.
        latency_seconds: one image by itself, on one core: the median.
        memory_bytes: the most that a process which predicts has held, libraries included.
    """

    parameters: int | None = None
    size_bytes: int | None = None
    training_seconds: float | None = None
    images_per_second: float | None = None
    latency_seconds: float | None = None
    memory_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def recorded_cost(run: RunDirectory, bundle: Bundle | None) -> RunCost:
    """What can be read without running anything."""
    return RunCost(
        parameters=None if bundle is None else count_parameters(bundle),
        size_bytes=None if bundle is None else size_on_disk(bundle.path),
        training_seconds=training_seconds(run),
    )


def count_parameters(bundle: Bundle) -> int:
    """The numbers in the graphs, each distinct graph counted once; shapes and indices are none."""
    from onnx import load_from_string

    graphs = {
        base.manifest.files[name]: content
        for base in bundle.base_models
        for name, content in base.graphs.items()
        if name.endswith(".onnx")
    }
    return sum(_numbers_in(load_from_string(content).graph) for content in graphs.values())


def size_on_disk(directory: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def training_seconds(run: RunDirectory) -> float | None:
    """What the run recorded; of older runs, from the first to the last line of the log.

    None where neither is known, and where the run was resumed: what it recorded then lacks the
    time before, and its log holds the time that it lay idle. A log that begins before
    environment.json, which every call writes first, is of a run that was resumed, or was copied
    without its times.
    """
    recorded = _recorded(run)
    if "training_seconds" in recorded:
        seconds = recorded["training_seconds"]
        is_known = isinstance(seconds, int | float) and not recorded.get("training_resumed")
        return float(seconds) if is_known else None
    if not run.log.is_file() or not run.environment.is_file():
        return None
    times = []
    for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            times.append(datetime.strptime(line.split(" ", 1)[0], "%Y-%m-%dT%H:%M:%S%z"))
        except ValueError:
            continue  # the second line of what was said
    if not times or run.environment.stat().st_mtime > times[0].timestamp() + 2:
        return None
    return (times[-1] - times[0]).total_seconds()


def _recorded(run: RunDirectory) -> dict[str, Any]:
    try:
        found = json.loads(run.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def measure_cost(cost: RunCost, bundle: Path, files: Sequence[Path]) -> tuple[RunCost, str]:
    """The cost with speed, latency and memory, from a process of its own; and why not, or "".

    Args:
        bundle: its directory.
        files: images to answer; a few dozen.
    """
    request = json.dumps({"bundle": str(bundle), "files": [str(file) for file in files]})
    command = [sys.executable, "-P", "-m", "holotype.comparison.benchmark_worker"]
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return cost, f"took longer than {TIMEOUT_S // 60} minutes"
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return cost, said[-1] if said else "the process that measures ended early"
    return replace(cost, **found), ""


def pareto_front(quality: Mapping[int, float], price: Mapping[int, float]) -> list[int]:
    """Those that none beats in both: less of one is the price of more of the other.

    Args:
        quality: the higher the better, by number.
        price: the lower the better.
    """
    both = [number for number in quality if number in price]
    return [
        one
        for one in both
        if not any(
            quality[other] >= quality[one]
            and price[other] <= price[one]
            and (quality[other], price[other]) != (quality[one], price[one])
            for other in both
        )
    ]


def _numbers_in(graph: Any) -> int:
    from onnx import AttributeProto, TensorProto

    kinds = {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
        TensorProto.INT8, TensorProto.UINT8,
    }  # fmt: skip
    count = sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for tensor in graph.initializer
        if tensor.data_type in kinds
    )
    for node in graph.node:
        for attribute in node.attribute:
            count += len(attribute.floats)
            if attribute.type == AttributeProto.TENSOR and attribute.t.data_type in kinds:
                count += int(np.prod(attribute.t.dims, dtype=np.int64))
            elif attribute.type == AttributeProto.GRAPH:
                count += _numbers_in(attribute.g)
    return count
