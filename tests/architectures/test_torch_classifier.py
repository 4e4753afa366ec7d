"""Backbone and head as one; auxiliaries beside them in training."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from holotype.architectures.architecture import HeadSpec
from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.layer_groups import split_into_groups
from holotype.architectures.onnx_export import export_head
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.architectures.torch_classifier import (
    TorchClassifier,
    build_head,
    hash_weights,
    last_linear,
    number_of_parameters,
)
from holotype.bundle.onnx_runtime import open_session
from tests.architectures.images import soft_images, with_statistics


def test_weights_are_owned_once() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    classifier = TorchClassifier(split_into_groups(network, 224), 192, 3)
    own = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in classifier.parameters()) == own + 192 * 3 + 3


def test_the_hash_sees_a_single_changed_number() -> None:
    network = timm.create_model("resnet18", num_classes=0)
    before = hash_weights(network)
    assert hash_weights(network) == before
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1e-3
    assert hash_weights(network) != before


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        (HeadSpec(), ["Linear"]),
        (HeadSpec(dropout=0.4), ["Dropout", "Linear"]),
        (HeadSpec((8,), dropout=(0, 0.4)), ["Linear", "ReLU", "Dropout", "Linear"]),
        (HeadSpec((8,), dropout=(0.4, 0)), ["Dropout", "Linear", "ReLU", "Linear"]),
        (HeadSpec((512,), "relu", 0.5), ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]),
        (HeadSpec((8, 4), "gelu"), ["Linear", "GELU", "Linear", "GELU", "Linear"]),
    ],
)
def test_a_head_is_built_as_it_is_said(spec: HeadSpec, kinds: list[str]) -> None:
    head = build_head(16, 3, spec)
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    assert [type(layer).__name__ for layer in layers] == kinds
    assert last_linear(head).out_features == 3
    assert number_of_parameters(head) == spec.parameters(16, 3)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_a_dense_head_ships_what_torch_computes(activation: str) -> None:
    torch.manual_seed(0)
    head = build_head(16, 3, HeadSpec((32, 8), activation, 0.5)).eval()
    embedding_ND = torch.randn(5, 16) * 3
    with torch.no_grad():
        expected_NC = head(embedding_ND).numpy()
    session = open_session(export_head(head))
    (logits_NC,) = session.run(["logits"], {"embedding": embedding_ND.numpy()})
    assert np.allclose(logits_NC, expected_NC, atol=1e-5)


def test_the_auxiliaries_of_googlenet_see_what_torchvision_shows_them() -> None:
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=True)
    backbone = build_backbone("googlenet", find_weights("googlenet", NONE), 64, seed=0)
    classifier = TorchClassifier(backbone, 1024, 5)
    assert backbone.auxiliary_groups(0) == ["inception4a", "inception4d"]
    assert backbone.auxiliary_groups(3) == ["inception4d"]
    assert backbone.auxiliary_groups(4) == []
    network.train()
    for module in [*network.modules(), *backbone.modules()]:
        if isinstance(module, nn.Dropout | nn.BatchNorm2d):
            module.eval()
    network.fc = network.aux1.fc2 = network.aux2.fc2 = nn.Identity()
    x = soft_images(2, 64)
    with torch.no_grad():
        expected = network(x)
        embedding, seen = backbone.forward_with_auxiliaries(x)
        logits, others = classifier.forward_with_auxiliaries(backbone.run_groups(x, 0, 3), start=3)
    assert torch.equal(embedding, expected.logits)
    assert torch.equal(seen["inception4a"], expected.aux_logits1)
    assert torch.equal(seen["inception4d"], expected.aux_logits2)
    assert logits.shape == (2, 5)
    assert {name: one.shape for name, one in others.items()} == {"inception4d": (2, 5)}


def test_auxiliaries_are_no_part_of_what_ships() -> None:
    backbone = build_backbone("googlenet", find_weights("googlenet", NONE), 64, seed=0)
    with_statistics(backbone, 64)
    aside = sum(p.numel() for p in backbone.auxiliaries.parameters())
    assert aside > 0
    assert number_of_parameters(backbone) == sum(p.numel() for p in backbone.parameters()) - aside
    x = soft_images(2, 64)
    with torch.no_grad():
        before = backbone(x)[0]
        for parameter in backbone.auxiliaries.parameters():
            parameter.zero_()
        assert torch.equal(backbone(x)[0], before)
