"""Groups of layers and the cuts between them."""

import pytest
import timm
import torch

from holotype.errors import InvalidRecipe
from holotype.models.classifier import (
    Classifier,
    estimate_batch_norm,
    hash_of_weights,
    split_into_groups,
)

NETWORKS = {
    "tf_efficientnet_lite0": 9,
    "mobilenetv2_100": 9,
    "resnet18": 5,
    "convnext_atto": 5,
    "vit_tiny_patch16_224": 1,
    "densenet121": 1,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_cut_leads_to_the_embedding_that_timm_gives(name: str) -> None:
    torch.manual_seed(0)
    size = 224 if name.startswith("vit") else 64
    network = timm.create_model(name, num_classes=0).eval()
    backbone = split_into_groups(network, size)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = network(x)
        assert len(backbone.groups) == NETWORKS[name]
        for cut in range(len(backbone.groups) + 1):
            below = backbone.run_groups(x, 0, cut)
            embedding, _ = backbone(below, start=cut)
            assert torch.equal(embedding, expected)


def test_cells_average_to_the_embedding_where_the_cam_is_exact() -> None:
    network = timm.create_model("resnet18", num_classes=0).eval()
    with torch.no_grad():
        embedding, cells = split_into_groups(network, 64)(torch.randn(1, 3, 64, 64))
    assert torch.allclose(cells.mean(dim=(2, 3)), embedding, atol=1e-6)


def test_weights_are_owned_once() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    classifier = Classifier(split_into_groups(network, 224), 192, 3)
    own = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in classifier.parameters()) == own + 192 * 3 + 3


def test_the_hash_sees_a_single_changed_number() -> None:
    network = timm.create_model("resnet18", num_classes=0)
    before = hash_of_weights(network)
    assert hash_of_weights(network) == before
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1e-3
    assert hash_of_weights(network) != before


def test_estimated_statistics_normalise_the_batch_they_came_from() -> None:
    norm = torch.nn.BatchNorm2d(4)
    x = torch.randn(64, 4, 8, 8) * 5 + 3
    estimate_batch_norm(norm, [x[:32], x[32:]])
    y = norm(x)
    assert y.mean().abs() < 0.05
    assert (y.std() - 1).abs() < 0.05
    assert norm.momentum == 0.1


def test_a_size_that_the_network_refuses_is_named() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(InvalidRecipe, match="image_size 64"):
        split_into_groups(network, 64)
