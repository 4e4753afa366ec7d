"""TorchClassifier -> ONNX graphs."""

from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch

from holotype.architectures.dense_head_onnx import export_dense_head
from holotype.architectures.layer_groups import split_into_groups
from holotype.architectures.onnx_export import (
    cut_output_name,
    export_backbone,
    extract_outputs,
)
from holotype.architectures.torch_classifier import Backbone
from holotype.bundle.onnx_runtime import open_session

SIZE = 32


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return split_into_groups(timm.create_model("test_resnet", num_classes=0), SIZE)


@pytest.fixture(scope="module")
def model(backbone: Backbone) -> onnx.ModelProto:
    return export_backbone(backbone, SIZE, SIZE)


def test_every_cut_and_the_embedding_agree_with_torch(
    backbone: Backbone, model: onnx.ModelProto
) -> None:
    x = torch.randn(5, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = {"embedding": backbone(x)[0], "feature_map": backbone(x)[1]}
        for cut in range(1, len(backbone.groups)):
            expected[cut_output_name(cut)] = backbone.run_groups(x, 0, cut)
    for output, tensor in expected.items():
        session = open_session(extract_outputs(model, [output]))
        actual = session.run([output], {"image": x.numpy()})[0]
        assert np.abs(actual - tensor.numpy()).max() < 1e-4 * np.abs(tensor.numpy()).max()


def test_activations_write_in_place_again_after_an_export(
    backbone: Backbone, model: onnx.ModelProto
) -> None:
    in_place: list[Any] = [
        layer for layer in backbone.modules() if getattr(layer, "inplace", False)
    ]
    assert in_place
    for layer in in_place:
        layer.inplace = False
    again = export_backbone(backbone, SIZE, SIZE)
    assert not any(layer.inplace for layer in in_place)
    for layer in in_place:
        layer.inplace = True
    assert extract_outputs(again, ["embedding"]) == extract_outputs(model, ["embedding"])


def test_a_graph_holds_only_what_leads_to_its_outputs(model: onnx.ModelProto) -> None:
    whole = extract_outputs(model, ["embedding", "feature_map"])
    below = extract_outputs(model, [cut_output_name(1)])
    assert len(below) < len(whole) / 5


def test_no_local_path_is_left(model: onnx.ModelProto) -> None:
    graph = extract_outputs(model, ["embedding"])
    assert b"site-packages" not in graph
    assert b"/holotype/" not in graph


def test_the_same_weights_export_to_the_same_bytes(
    backbone: Backbone, model: onnx.ModelProto
) -> None:
    again = export_backbone(backbone, SIZE, SIZE)
    assert extract_outputs(again, ["embedding"]) == extract_outputs(model, ["embedding"])


def test_a_linear_head_is_what_it_says() -> None:
    rng = np.random.default_rng(0)
    weight_CD = rng.normal(size=(3, 7)).astype(np.float32)
    bias_C = rng.normal(size=3).astype(np.float32)
    x = rng.normal(size=(4, 7)).astype(np.float32)
    session = open_session(export_dense_head([(weight_CD, bias_C)], []))
    logits = session.run(["logits"], {"embedding": x})[0]
    assert np.allclose(logits, x @ weight_CD.T + bias_C, atol=1e-5)
