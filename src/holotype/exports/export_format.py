"""What every format has: files, the code that loads them, and how exactly it is to agree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holotype.bundle.bundle import Bundle

FormatName = Literal[
    "onnx", "int8", "fp16", "openvino", "torchscript", "pt2", "state_dict", "savedmodel", "tflite"
]


@dataclass(frozen=True)
class ExportOptions:
    """What a caller may say of an export.

    Attributes:
        source_size: (height, width) of the images: preprocessing is within the graph.
        run: the path that the bundle was named by, where weights in torch are looked for.
    """

    source_size: tuple[int, int] | None = None
    run: str = ""


@dataclass(frozen=True)
class WrittenModel:
    """What a writer left in the directory, and how to run it.

    Attributes:
        runtime: code that defines `probabilities`; see `loading_code`.
        imports: its import lines.
        needs: what to `pip install`.
        notes: sentences for the README.
        python: runs the code; this interpreter unless the format has one of its own.
        tolerance: the largest difference of a probability.
    """

    runtime: str
    imports: str
    needs: str
    notes: tuple[str, ...] = ()
    python: str | None = None
    tolerance: float = 1e-4


Writer = Callable[[Bundle, Path, ExportOptions], WrittenModel]
