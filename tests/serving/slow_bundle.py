"""A tiny classifier that takes about ten milliseconds, so that workers are busy."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from holotype.bundle.bundle import Bundle, write_bundle
from tests.bundle.tiny import CELLS, EMBEDDING, SIDE, head_model, manifest, model_of

CHANNELS, LAYERS = 24, 24


def write_slow(directory: Path, seed: int = 0, **changes: object) -> Bundle:
    """A chain of convolutions at full size, then what `tests.bundle.tiny` has."""
    random = np.random.default_rng(seed)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    outputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING]),
        helper.make_tensor_value_info(
            "feature_map", TensorProto.FLOAT, ["batch", EMBEDDING, CELLS, CELLS]
        ),
    ]
    kernels = [random.normal(0, 0.3, (CHANNELS, 3, 3, 3))]
    kernels += [random.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)) for _ in range(LAYERS)]
    last = random.normal(0, 0.3, (EMBEDDING, CHANNELS, 4, 4))
    nodes, weights, name = [], [], "image"
    for number, kernel in enumerate(kernels):
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"k{number}"))
        nodes += [
            helper.make_node("Conv", [name, f"k{number}"], [f"c{number}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
        ]
        name = f"r{number}"
    weights += [
        numpy_helper.from_array(last.astype(np.float32), "last"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    nodes += [
        helper.make_node("Conv", [name, "last"], ["conv"], strides=[4, 4]),
        helper.make_node("Relu", ["conv"], ["feature_map"]),
        helper.make_node("ReduceMean", ["feature_map", "axes"], ["embedding"], keepdims=0),
    ]
    backbone = model_of(helper.make_graph(nodes, "backbone", [image], outputs, weights))
    return write_bundle(
        directory,
        backbone=backbone.SerializeToString(),
        head=head_model().SerializeToString(),
        manifest=manifest(**{"name": "slow", **changes}),
    )
