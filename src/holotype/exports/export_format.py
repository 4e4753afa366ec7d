"""What every format has: files, the code that loads them, and how exactly it is to agree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holotype.bundle.bundle import Bundle
from holotype.errors import ExportRefused

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

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for the README where preprocessing is within the graph."""
        if self.source_size is None:
            return ()
        height, width = self.source_size
        return (
            "Resizing and normalising are part of the graph, for images of "
            f"{width} x {height} pixels.",
        )

    @property
    def tolerance(self) -> float:
        """Within the graph, whole levels may fall on the other side of a half than in Pillow."""
        return 1e-4 if self.source_size is None else 0.01

    def require_no_size(self, name: str) -> None:
        """Refuse preprocessing within a graph that has no operators for it.

        Raises:
            ExportRefused: there is a source size.
        """
        if self.source_size is not None:
            raise ExportRefused(
                f"{name} has no preprocessing inside; export onnx, fp16 or openvino with "
                "--source-size, or this format without it."
            )


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


def require_one_input(bundle: Bundle) -> None:
    """Refuse an ensemble whose members take different inputs, which is no single graph.

    Raises:
        ExportRefused: it is.
    """
    inputs = {base.preprocessing.digest() for base in bundle.base_models}
    if len(inputs) > 1:
        raise ExportRefused(
            f"{bundle.name}: its members take {len(inputs)} different inputs (size, fit or "
            "normalisation), so they are no single graph; export each member."
        )


Writer = Callable[[Bundle, Path, ExportOptions], WrittenModel]
