"""A bundle as one graph says what the bundle says; and so with its preprocessing inside."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image as PillowImage

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.manifest import Decision
from holotype.bundle.views import ViewSet
from holotype.errors import ExportRefused
from holotype.exports.graph_nodes import GraphNodes
from holotype.exports.merged_graph import merged_graph
from holotype.exports.preprocessing_graph import preprocessing_nodes
from holotype.imaging.decode import from_pillow
from holotype.imaging.preprocessing import Fit, Interpolation, Preprocessing
from tests.bundle.tiny import (
    PREPROCESSING,
    backbone_model,
    head_model,
    manifest,
    predicted,
    write_images,
)


def _bundle(path: Path, seed: int = 0, views: ViewSet = "one", **changes: Any) -> Bundle:
    made = write_bundle(
        path,
        backbone=backbone_model(seed).SerializeToString(),
        head=head_model(seed).SerializeToString(),
        manifest=manifest(**changes),
    )
    return made.with_decision(Decision(0.7 + seed, "0" * 64, 9, views=views))


def _run(model: ModelProto, images: NDArray[Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["probabilities"], {"image": images})[0])


def _inputs(bundle: Bundle, files: list[Path]) -> NDArray[np.float32]:
    return np.stack([bundle.preprocessing.load(file) for file in files])


@pytest.mark.parametrize("views", get_args(ViewSet))
def test_views_and_temperature_are_part_of_the_graph(views: ViewSet, tmp_path: Path) -> None:
    bundle, files = _bundle(tmp_path / "b", views=views), write_images(tmp_path / "images", 7)
    found = _run(merged_graph(bundle), _inputs(bundle, files))
    assert np.abs(found - predicted(bundle, files).probabilities_NC).max() < 1e-6


def test_members_and_their_weights_are_part_of_the_graph(tmp_path: Path) -> None:
    members = [_bundle(tmp_path / "a", 0, "mirror"), _bundle(tmp_path / "b", 1)]
    weights_CM = np.array([[0.3, 0.7], [1.0, 0.0], [0.5, 0.5]])
    bundle = write_members(tmp_path / "both", members, name="both", weights_CM=weights_CM)
    bundle = bundle.with_decision(Decision(1.3, "0" * 64, 9))
    files = write_images(tmp_path / "images", 7)
    found = _run(merged_graph(bundle), _inputs(bundle, files))
    assert np.abs(found - predicted(bundle, files).probabilities_NC).max() < 1e-6


def test_members_with_different_inputs_are_no_single_graph(tmp_path: Path) -> None:
    other = replace(PREPROCESSING, interpolation="bicubic")
    members = [_bundle(tmp_path / "a"), _bundle(tmp_path / "b", 1, preprocessing=other)]
    bundle = write_members(tmp_path / "both", members, name="both")
    with pytest.raises(ExportRefused, match="2 different inputs"):
        merged_graph(bundle)


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_preprocessing_inside_gives_pillows_levels(fit: Fit, interpolation: Interpolation) -> None:
    rng = np.random.default_rng(3)
    for height, width in ((50, 77), (20, 15), (32, 32)):
        preprocessing = Preprocessing(
            32, 32, fit, interpolation, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), (250, 10, 120)
        )
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = from_pillow(PillowImage.fromarray(pixels), name="image")
        found = _through_the_graph(preprocessing, pixels)
        scale = 255 * np.array(preprocessing.std)[:, None, None]
        levels = scale * np.abs(found - preprocessing(image))
        assert levels.max() < 1.01  # a level, where a sum is a half
        assert (levels > 0.01).mean() < 0.01


def _through_the_graph(preprocessing: Preprocessing, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    from onnx import TensorProto, helper

    builder = GraphNodes()
    size = (pixels.shape[0], pixels.shape[1])
    output = preprocessing_nodes(builder, "image", preprocessing, size, "bundle")
    graph = helper.make_graph(
        builder.nodes, "preprocessing",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *size, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 3, 32, 32])],
        builder.tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run([output], {"image": pixels[None]})[0][0])


def test_cropping_to_the_content_is_no_fixed_operator(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path / "b", preprocessing=replace(PREPROCESSING, content="crop"))
    merged_graph(bundle)
    with pytest.raises(ExportRefused, match="content"):
        merged_graph(bundle, (40, 40))


def test_what_plain_pillow_does_not_read_is_no_preprocessing_inside(tmp_path: Path) -> None:
    for number, (changes, said) in enumerate(
        [({"tolerate_truncated": True}, "--tolerate-truncated"), ({"bits": 12}, "12 significant")]
    ):
        changed: Any = replace(PREPROCESSING, **changes)
        bundle = _bundle(tmp_path / str(number), preprocessing=changed)
        merged_graph(bundle)
        with pytest.raises(ExportRefused, match=f"{said}.* without --source-size"):
            merged_graph(bundle, (40, 40))
