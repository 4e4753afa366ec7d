"""Static 8-bit quantisation of a backbone, calibrated on training images.

Weights are quantised per channel, activations per tensor, in the form that names both (QDQ): Jacob
et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference". The head, a thousandth of the work, stays in float32.

Shape suffixes: N images.
"""

import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.onnx_runtime import open_session
from holotype.bundle.sanitise_graph import strip_metadata

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CALIBRATION_IMAGES = 128
SPEED_ROUNDS = 15
SPEED_BATCH = 4  # as predictions are made


def quantise(graph: bytes, inputs_NCHW: NDArray[np.float32], *, reduce_range: bool) -> bytes:
    """The graph with 8-bit weights and activations; the same input and outputs.

    Args:
        inputs_NCHW: model inputs of training images, whose activations set the ranges.
        reduce_range: weights of 7 bits: for processors without VNNI, where sums of products of
            8 bits overflow 16.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class TrainingImages(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows: Iterator[NDArray[np.float32]] = iter(inputs_NCHW)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self._rows, None)
            return None if row is None else {name: row[None]}

    name = open_session(graph).get_inputs()[0].name
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        plain, folded = Path(scratch) / "plain.onnx", Path(scratch) / "folded.onnx"
        made = Path(scratch) / "int8.onnx"
        plain.write_bytes(graph)
        quant_pre_process(plain, folded, skip_symbolic_shape=True)
        quantize_static(
            folded, made, TrainingImages(), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=reduce_range, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip
        return strip_metadata(made.read_bytes())


@dataclass(frozen=True)
class Speedup:
    """Seconds of a batch of either graph, one after the other in turn, on one thread."""

    before_s: float
    after_s: float

    @property
    def factor(self) -> float:
        """How many times as fast the second one is."""
        return self.before_s / self.after_s


def measure_speedup(before: bytes, after: bytes, inputs_NCHW: NDArray[np.float32]) -> Speedup:
    """The forward passes of two graphs, in turn; the median of the rounds."""
    sessions = [open_session(before), open_session(after)]
    rows = np.ascontiguousarray(inputs_NCHW[:SPEED_BATCH])
    seconds: list[list[float]] = [[], []]
    for number in range(SPEED_ROUNDS + 2):
        for session, taken in zip(sessions, seconds, strict=True):
            passed = _seconds(session, rows)
            if number >= 2:  # the first passes of a session allocate
                taken.append(passed)
    return Speedup(median(seconds[0]), median(seconds[1]))


def _seconds(session: "InferenceSession", rows: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    session.run(["embedding"], {session.get_inputs()[0].name: rows})
    return time.perf_counter() - began


class _quiet:
    """onnxruntime's quantiser warns on the root logger of what is done here."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
