"""Heads of dense layers, and projections to a learnt embedding, as ONNX graphs without torch.

Shape suffixes: N images, D dimensions of the backbone's embedding, E of the learnt one, C classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 20
EMBEDDING = "embedding"
WEIGHT, BIAS = "projection_weight", "projection_bias"
_POOLED = "pooled_embedding"  # what the backbone gave before the projection
_TINY = 1e-12


def export_dense_head(
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], activations: Sequence[str]
) -> bytes:
    """`embedding` (N, D) -> `logits` (N, C): Gemms, each but the last followed by its activation.

    Args:
        layers: weight (outputs, inputs) and bias (outputs) of each.
        activations: `relu`, `gelu` or `silu`, one fewer than layers.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, tensors, x = [], [], "embedding"
    for number, (weight_CD, bias_C) in enumerate(layers):
        is_last = number == len(layers) - 1
        at = "" if len(layers) == 1 else str(number)
        y = "logits" if is_last else f"dense{at}"
        nodes.append(helper.make_node("Gemm", [x, f"weight{at}", f"bias{at}"], [y], transB=1))
        tensors += [
            numpy_helper.from_array(np.ascontiguousarray(weight_CD, np.float32), f"weight{at}"),
            numpy_helper.from_array(np.ascontiguousarray(bias_C, np.float32), f"bias{at}"),
        ]
        x = y
        if not is_last:
            x = f"active{at}"
            nodes += _activation(activations[number], y, x)
    sizes = layers[0][0].shape[1], layers[-1][0].shape[0]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", sizes[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", sizes[1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _activation(name: str, x: str, y: str) -> "list[onnx.NodeProto]":
    from onnx import helper

    if name == "silu":
        gate = f"{y}_gate"
        return [
            helper.make_node("Sigmoid", [x], [gate]),
            helper.make_node("Mul", [x, gate], [y]),
        ]
    return [helper.make_node({"relu": "Relu", "gelu": "Gelu"}[name], [x], [y])]


def append_projection(
    backbone: bytes, weight_ED: NDArray[np.float32], bias_E: NDArray[np.float32]
) -> bytes:
    """The graph whose `embedding` (N, E) is normalise(weight · normalise(x) + bias).

    All other outputs, such as the feature map, stay.
    """
    import onnx
    from onnx import TensorProto, checker, helper, numpy_helper

    model = onnx.load_model_from_string(backbone)
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [_POOLED if name == EMBEDDING else name for name in names]
    constants: dict[str, NDArray[Any]] = {
        WEIGHT: np.ascontiguousarray(weight_ED, np.float32),
        BIAS: np.ascontiguousarray(bias_E, np.float32),
        "projection_axis": np.array([1], np.int64),
        "projection_tiny": np.array(_TINY, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    graph.node.extend(_normalise(_POOLED, "pooled_unit"))
    graph.node.append(
        helper.make_node("Gemm", ["pooled_unit", WEIGHT, BIAS], ["projected"], transB=1)
    )
    graph.node.extend(_normalise("projected", EMBEDDING))
    outputs = [
        helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", len(bias_E)])
        if output.name == EMBEDDING
        else output
        for output in graph.output
    ]
    del graph.output[:]
    graph.output.extend(outputs)
    kept = [info for info in graph.value_info if info.name != EMBEDDING]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def read_projection(backbone: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weight (E, D) and bias (E) of a graph that `append_projection` made."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(backbone).graph
    tensors = {one.name: one for one in graph.initializer}
    return numpy_helper.to_array(tensors[WEIGHT]), numpy_helper.to_array(tensors[BIAS])


def _normalise(x: str, y: str) -> "list[onnx.NodeProto]":
    from onnx import helper

    return [
        helper.make_node("ReduceL2", [x, "projection_axis"], [f"{y}_length"], keepdims=1),
        helper.make_node("Max", [f"{y}_length", "projection_tiny"], [f"{y}_divisor"]),
        helper.make_node("Div", [x, f"{y}_divisor"], [y]),
    ]


def export_cosine_head(directions_CE: NDArray[np.float32], scale: float) -> bytes:
    """`embedding` (N, E) -> `logits` (N, C): cosines times a scale."""
    no_bias_C = np.zeros(len(directions_CE), np.float32)
    return export_dense_head([((scale * directions_CE).astype(np.float32), no_bias_C)], [])
