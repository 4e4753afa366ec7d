"""ONNX in float32 and in float16, for ONNX Runtime."""

from pathlib import Path

from holotype.bundle.bundle import Bundle
from holotype.errors import ExportRefused
from holotype.exports.export_format import ExportOptions, WrittenModel
from holotype.exports.merged_graph import merged_graph

RUNTIME = """
SESSION = onnxruntime.InferenceSession(
    str(HERE / "model.onnx"), providers=["CPUExecutionProvider"]
)


def probabilities(x):
    return SESSION.run(["probabilities"], {"image": x})[0]
"""
FP16_TOLERANCE = 0.05


def write_onnx(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.onnx`, one graph; with preprocessing inside where a size is given."""
    graph = merged_graph(bundle, options.source_size)
    (directory / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    return WrittenModel(
        RUNTIME, "import onnxruntime", "onnxruntime", options.notes, tolerance=options.tolerance
    )


def write_fp16(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.onnx` with weights and activations of 16 bits; inputs and outputs keep 32.

    Raises:
        ExportRefused: a head that ONNX Runtime's converter cannot write so.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = merged_graph(bundle, options.source_size)
    others = sorted({node.op_type for node in model.graph.node if node.domain == "ai.onnx.ml"})
    if others:
        raise ExportRefused(
            f"{bundle.name}: fp16 cannot hold {', '.join(others)}, which scikit-learn's heads "
            "need; export onnx."
        )
    half = convert_float_to_float16(model, keep_io_types=True)
    (directory / "model.onnx").write_bytes(half.SerializeToString(deterministic=True))
    notes = (
        *options.notes,
        "Half the size; made for GPUs: on most CPUs 16-bit floats are converted to and fro, and "
        "nothing gets faster.",
    )
    return WrittenModel(
        RUNTIME, "import onnxruntime", "onnxruntime", notes, tolerance=FP16_TOLERANCE
    )
