"""Tiny classifiers made with onnx.helper, so that no test here needs torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.embedding import Embeddings, embed
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.bundle.manifest import Manifest
from holotype.imaging.preprocessing import Preprocessing
from holotype.predictions import Predictions

SIDE, EMBEDDING, CELLS = 32, 24, 8
CLASSES = ("crack", "dark", "fine")
PREPROCESSING = Preprocessing(
    height=SIDE,
    width=SIDE,
    fit="squash",
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


def model_of(graph: GraphProto) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def backbone_model(seed: int = 0) -> ModelProto:
    """A convolution of stride 4, ReLU, and the mean over its 8 × 8 cells."""
    kernel = np.random.default_rng(seed).normal(0, 0.3, (EMBEDDING, 3, 4, 4)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    outputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING]),
        helper.make_tensor_value_info(
            "feature_map", TensorProto.FLOAT, ["batch", EMBEDDING, CELLS, CELLS]
        ),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], strides=[4, 4]),
        helper.make_node("Relu", ["conv"], ["feature_map"]),
        helper.make_node("ReduceMean", ["feature_map", "axes"], ["embedding"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    return model_of(helper.make_graph(nodes, "backbone", [image], outputs, weights))


def head_model(
    seed: int = 0, weight_CD: NDArray[np.float32] | None = None, operator: str = "Gemm"
) -> ModelProto:
    random = np.random.default_rng(seed)
    if weight_CD is None:
        weight_CD = random.normal(0, 1, (len(CLASSES), EMBEDDING)).astype(np.float32)
    bias_C = random.normal(0, 0.1, len(weight_CD)).astype(np.float32)
    domain = "" if operator == "Gemm" else "elsewhere"
    graph = helper.make_graph(
        [helper.make_node(operator, ["embedding", "w", "b"], ["logits"], domain=domain, transB=1)],
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weight_CD)])],
        [numpy_helper.from_array(weight_CD, "w"), numpy_helper.from_array(bias_C, "b")],
    )
    model = model_of(graph)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def manifest(**changes: object) -> Manifest:
    fields: dict[str, object] = {
        "name": "tiny",
        "model": "tiny",
        "classes": CLASSES,
        "preprocessing": PREPROCESSING,
        "embedding_size": EMBEDDING,
        "feature_map_size": (CELLS, CELLS),
        "cam": "exact",
        "versions": {"holotype": "0.1.0"},
    }
    return Manifest(**{**fields, **changes})


def write_tiny(directory: Path, **changes: object) -> Bundle:
    return write_bundle(
        directory,
        backbone=backbone_model().SerializeToString(),
        head=head_model().SerializeToString(),
        manifest=manifest(**changes),
    )


def write_images(directory: Path, count: int, seed: int = 0) -> list[Path]:
    """Blurred colour noise, so that the images differ as a whole and not only in detail."""
    random = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        path = directory / f"{number:03d}.png"
        Image.fromarray(coarse).resize((40, 36), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def predicted(bundle: Bundle, paths: str | Path | Sequence[str | Path]) -> Predictions:
    """The predictions of files, none of which is refused."""
    predictions = predict_images(bundle, image_sources(paths))
    assert not predictions.refused
    return predictions


def embedded(bundle: Bundle, paths: str | Path | Sequence[str | Path]) -> Embeddings:
    """The embeddings of files, computed anew."""
    return embed(bundle, image_sources(paths), use_cache=False)
