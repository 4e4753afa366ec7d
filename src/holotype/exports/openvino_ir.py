"""OpenVINO's intermediate representation."""

from pathlib import Path

from holotype.bundle.bundle import Bundle
from holotype.errors import ExportRefused
from holotype.exports.export_format import ExportOptions, WrittenModel
from holotype.exports.merged_graph import merged_graph

RUNTIME = """
# Without the hint OpenVINO computes in 16 bits on processors that can.
MODEL = openvino.Core().compile_model(
    str(HERE / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
)


def probabilities(x):
    return MODEL({"image": x})["probabilities"]
"""


def write_openvino(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.xml` and `model.bin`, float32.

    The model is read by OpenVINO's own reader of ONNX: its converter `ovc`, which would send
    telemetry, is not used.

    Raises:
        ExportRefused: OpenVINO knows an operator not; the message has its name.
    """
    import openvino

    graph = merged_graph(bundle, options.source_size)
    try:
        model = openvino.Core().read_model(graph.SerializeToString(), b"")
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ExportRefused(
            f"{bundle.name}: OpenVINO {openvino.__version__} cannot hold this graph: "
            f"{reason[-300:]}"
        ) from None
    openvino.save_model(model, str(directory / "model.xml"), compress_to_fp16=False)
    return WrittenModel(
        RUNTIME, "import openvino", "openvino", options.notes, tolerance=options.tolerance
    )
