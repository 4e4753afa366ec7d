"""ONNX graphs: opened in ONNX Runtime, and run on many images.

One call of ONNX Runtime does not get faster with two threads or a larger batch, but two calls
side by side do: so every worker decodes a few images and runs them itself, on one thread.
An image's numbers are the same whatever the batch and the number of workers.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from holotype.errors import CorruptBundle, ImageError, UsageError, require_one_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LoadInput = Callable[[int], NDArray[np.float32]]  # position -> model input (3, H, W), or ImageError
DoneCallback = Callable[[int], None]  # told how many images are done
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class GraphOutputs:
    """The outputs of a graph for a batch of images.

    Attributes:
        positions: which images, in the order of the rows.
        outputs: one array (rows, …) for each output that was asked for.
        refused: the position and the refusal of each image that could not be used.
    """

    positions: list[int]
    outputs: dict[str, NDArray[np.float32]]
    refused: list[tuple[int, ImageError]] = field(default_factory=list)


# What runs a graph, by the names of callers. Only the CPU is tested, and only on it do answers
# repeat to 1e-6; of the others it is only known that ONNX Runtime is asked for them.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
CPU = ("cpu",)


def check_providers(providers: Sequence[str]) -> None:
    """Refuse what this installation of ONNX Runtime cannot run graphs on.

    Raises:
        UsageError: an unknown name, or one whose provider is not installed.
    """
    import onnxruntime

    for name in providers:
        require_one_of("provider", name, tuple(PROVIDERS))
    installed = onnxruntime.get_available_providers()
    here = [name for name, provider in PROVIDERS.items() if provider in installed]
    if not providers or (missing := [name for name in providers if name not in here]):
        asked = ", ".join(missing) if providers else "none"
        raise UsageError(
            f"providers: {asked} cannot be had from this onnxruntime, which has "
            f"{', '.join(here)}; another build brings it, such as onnxruntime-gpu or "
            "onnxruntime-openvino."
        )


def open_session(
    graph: bytes, *, threads: int = 1, providers: Sequence[str] = CPU
) -> "InferenceSession":
    """An ONNX Runtime session from the graph's own bytes.

    Args:
        providers: names of `PROVIDERS`, the first choice first; the CPU takes what they leave.

    Raises:
        CorruptBundle: ONNX Runtime cannot read, check or build the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised too; once is enough
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Bytes are never guessed to be ONNX Runtime's own format, which nothing here checks.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        names = [PROVIDERS[name] for name in dict.fromkeys((*providers, *CPU))]
        return onnxruntime.InferenceSession(graph, options, providers=names)
    except _errors() as error:
        reason = str(error).splitlines()[0]
        raise CorruptBundle(
            f"ONNX Runtime {onnxruntime.__version__} cannot open the graph: {reason}"
        ) from error


def run_session(
    session: "InferenceSession", rows: NDArray[np.float32], outputs: Sequence[str]
) -> list[NDArray[np.float32]]:
    """One call of a graph that has one input: the outputs of the rows.

    Raises:
        CorruptBundle: the graph fails, or does not answer row by row.
    """
    try:
        arrays = session.run(list(outputs), {session.get_inputs()[0].name: rows})
    except _errors() as error:
        reason = str(error).splitlines()[0]
        raise CorruptBundle(f"the graph cannot be run: {reason}") from error
    if any(len(array) != len(rows) for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise CorruptBundle(f"the graph answers {len(rows)} images with {shapes}")
    return list(arrays)


def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises about a graph."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )


def available_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has.

    `HOLOTYPE_THREADS` sets them where several jobs share a machine.
    """
    told = os.environ.get("HOLOTYPE_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_graph(
    session: "InferenceSession",
    num_images: int,
    load: LoadInput,
    *,
    outputs: Sequence[str],
    workers: int | None = None,
    batch_size: int = 4,
) -> Generator[GraphOutputs, None, None]:
    """Run a graph on the images 0 … num_images - 1, in that order.

    At most 2 · workers + 1 batches exist at once, so outputs of any size can be consumed as
    they come.

    Args:
        session: of a graph with one input (N, 3, H, W); shared by all workers.
        num_images: how many images there are.
        load: makes the model input of one position; called from several threads. An
            `ImageError` that it raises costs that image alone.
        outputs: the names of the graph's outputs to return.
        workers: threads that decode and run; one a core by default.
        batch_size: images in a call; more is not faster.
    """

    def run(positions: range) -> GraphOutputs:
        images, good, refused = [], [], []
        for position in positions:
            try:
                images.append(load(position))
                good.append(position)
            except ImageError as refusal:
                refused.append((position, refusal))
        if not images:
            return GraphOutputs([], {}, refused)
        arrays = run_session(session, np.stack(images), outputs)
        return GraphOutputs(good, dict(zip(outputs, arrays, strict=True)), refused)

    return map_in_threads(run, num_images, batch_size=batch_size, workers=workers)


def map_in_threads(
    run: Callable[[range], Result], count: int, *, batch_size: int, workers: int | None = None
) -> Generator[Result, None, None]:
    """`run(range(0, batch_size))`, `run(range(batch_size, …))`, … side by side, in their order.

    At most 2 · workers + 1 results exist at once. An error of `run` stops the pass.

    Args:
        run: called from several threads.
        count: where the last range ends.
        workers: threads; one a core by default.
    """
    workers = workers or available_cores()
    ranges = (range(start, min(start + batch_size, count)) for start in range(0, count, batch_size))
    if count <= batch_size:  # a thread would cost more than it brings
        yield from map(run, ranges)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            waiting.extend(pool.submit(run, positions) for positions in islice(ranges, 2 * workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(run, positions) for positions in islice(ranges, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
