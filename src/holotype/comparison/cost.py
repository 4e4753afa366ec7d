"""The cost of a classifier: parameters, size, training time, speed, latency and memory.

Speed, latency and memory are measured one bundle after the other, each in a process of its own.
Earlier measurements are never reused: times of different machines or days cannot be compared.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.run_directory import RunDirectory

TIMEOUT_S = 900

Item = TypeVar("Item")


@dataclass(frozen=True)
class RunCost:
    """The cost of a run; None where unknown.

    Attributes:
        parameters: numbers in the shipped graphs: weights, biases, support vectors.
        size_bytes: of the files of the bundle.
        training_seconds: as recorded; None where the training was resumed.
        images_per_second: with decoding and preprocessing, on all cores.
        latency_seconds: of a single image on one core; the median.
        memory_bytes: peak of a process that only predicts, libraries included.
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
    """The cost as far as it is known without running the classifier."""
    return RunCost(
        parameters=None if bundle is None else count_parameters(bundle),
        size_bytes=None if bundle is None else size_on_disk(bundle.path),
        training_seconds=training_seconds(run),
    )


def count_parameters(bundle: Bundle) -> int:
    """The floats and 8-bit integers in the graphs, each distinct graph counted once."""
    from onnx import load_from_string

    graphs = {
        base.manifest.files[name]: content
        for base in bundle.base_models
        for name, content in base.graphs.items()
        if name.endswith(".onnx")
    }
    return sum(_numbers_in(load_from_string(content).graph) for content in graphs.values())


def size_on_disk(directory: Path) -> int:
    """The bytes of all files below a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def training_seconds(run: RunDirectory) -> float | None:
    """The time that `environment.json` records; None without it, and where the run was resumed."""
    try:
        recorded = json.loads(run.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(recorded, dict) or recorded.get("training_resumed"):
        return None
    seconds = recorded.get("training_seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def measure_cost(cost: RunCost, bundle: Path, files: Sequence[Path]) -> tuple[RunCost, str]:
    """Measure speed, latency and memory in a process of its own.

    Args:
        cost: to complete.
        bundle: its directory.
        files: a few dozen images to predict.

    Returns:
        The completed cost and ""; where it failed, the cost as given and the reason.
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


def evenly_spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """At most so many of them, from the first on at equal distances."""
    return items[:: max(1, len(items) // count)][:count]


def peak_memory_bytes() -> int | None:
    """The peak memory of this process; None where the system does not report it."""
    try:
        # On Linux the resource module includes the peak of the parent process.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def pareto_front(quality: Mapping[int, float], price: Mapping[int, float]) -> list[int]:
    """The numbers of those that no other beats in both quality and price.

    Args:
        quality: by number; higher is better.
        price: by number; lower is better. Numbers without a price are left out.
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


def images_per_second_text(speed: float) -> str:
    """The speed in words: whole images from a hundred on."""
    return f"{speed:,.{0 if speed >= 100 else 1}f}"
