"""Heads of dense layers as ONNX graphs, made without torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

OPSET = 20


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
