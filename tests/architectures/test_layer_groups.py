"""A network is split into groups only where the groups are the network itself."""

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.catalog import CATALOG
from holotype.architectures.layer_groups import backbone_of_custom_model, split_into_groups
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.architectures.torch_classifier import Backbone, layers_with_weights
from holotype.errors import InvalidRecipe
from tests.architectures.images import awake, soft_images

NETWORKS = {
    "tf_efficientnet_lite0": 9,
    "test_efficientnet": 7,
    "mobilenetv1_100": 6,
    "mobilenetv2_050": 9,
    "mobilenetv3_small_050": 7,
    "resnet18": 5,
    "resnetv2_18": 5,
    "convnext_atto": 5,
    "densenet121": 5,
    "inception_v3": 4,
    "test_vit": 5,
    "vit_tiny_patch16_224": 5,
    "efficientformer_l1": 1,
    "test_vit2": 5,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_cut_leads_to_the_embedding_that_timm_gives(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()
    size = 96 if name == "inception_v3" else 64
    config: Any = network.pretrained_cfg
    if config.get("fixed_input_size") or name == "efficientformer_l1":
        size = config["input_size"][-1]
    backbone = split_into_groups(network, size)
    x = soft_images(2, size)
    with torch.no_grad():
        expected = network(x)
        assert len(backbone.groups) == NETWORKS[name]
        for cut in range(len(backbone.groups) + 1):
            below = backbone.run_groups(x, 0, cut)
            embedding, _ = backbone(below, start=cut)
            assert torch.equal(embedding, expected)
    owned = {id(p) for p in backbone.parameters()}
    assert owned == {id(p) for p in network.parameters()}


def test_mobilenetv2_of_another_width_is_torchvisions() -> None:
    backbone = _built("mobilenetv2", 64, {"alpha": 0.6})
    torch.manual_seed(0)
    expected = torchvision.models.mobilenet_v2(width_mult=0.6).eval()
    expected.classifier = nn.Identity()
    x = soft_images(2, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x)[0], expected(x))
    assert backbone.group_names == _built("mobilenetv2", 64, {}).group_names


def test_googlenet_sees_the_images_as_its_weights_did() -> None:
    """torchvision transforms images of other statistics inside the network; here nothing does."""
    torch.manual_seed(0)
    network = torchvision.models.googlenet(
        weights=None, aux_logits=True, init_weights=True, transform_input=True
    ).eval()
    network.fc = nn.Identity()
    backbone = _built("googlenet", 64, {})
    row = CATALOG["googlenet"]
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    imagenet = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    own = torchvision.transforms.Normalize(row.inputs.mean, row.inputs.std)
    with torch.no_grad():
        expected, actual = network(imagenet(pixels)), backbone(own(pixels))[0]
    assert torch.allclose(actual, expected, atol=1e-5 * float(expected.abs().max()))


def test_cells_average_to_the_embedding_where_the_cam_is_exact() -> None:
    network = timm.create_model("resnet18", num_classes=0).eval()
    with torch.no_grad():
        embedding, cells = split_into_groups(network, 64)(torch.randn(1, 3, 64, 64))
    assert torch.allclose(cells.mean(dim=(2, 3)), embedding, atol=1e-6)


def test_a_size_that_the_network_refuses_is_named() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    with pytest.raises(InvalidRecipe, match="image_size 64"):
        split_into_groups(network, 64)


def test_a_transformer_takes_other_sizes_by_resampling_its_positions() -> None:
    """At its native size it is timm's own; at another as timm builds it for that size."""
    backbone = awake(_built("vit_small", 64, {}))
    torch.manual_seed(0)
    network = timm.create_model("vit_small_patch16_224", num_classes=0)
    network.set_input_size(img_size=(64, 64))
    expected = awake(split_into_groups(network, 64))
    x = soft_images(2, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x)[0], expected(x)[0])


class Twisted(nn.Module):
    """It has the modules of a ResNet, but uses them otherwise."""

    def __init__(self) -> None:
        super().__init__()
        network = timm.create_model("test_resnet", num_classes=0)
        for name, module in network.named_children():
            self.add_module(name, module)
        self.network = [network]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.network[0](x)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.network[0].forward_features(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return 2 * self.network[0].forward_head(x, pre_logits=pre_logits)


def test_what_only_looks_like_a_known_network_stays_one_group() -> None:
    network = Twisted()
    backbone = split_into_groups(network, 32)
    assert backbone.group_names == ["network"]
    x = soft_images(2, 32)
    with torch.no_grad():
        assert torch.equal(backbone(x)[0], network(x))


def test_layers_are_modules_with_weights_of_their_own_from_the_bottom_up() -> None:
    layers = layers_with_weights(_built("resnet18", 64, {}))
    names = [name for name, _ in layers]
    assert names[0] == "stem.0"
    assert names[-1] == "layer4.1.bn2"
    assert len(layers) == 20 + 20  # convolutions, and a batch norm after each
    tail = [name for name, _ in layers_with_weights(_built("mobilenetv3_small", 64, {}))][-1]
    assert tail.startswith("pool.")


def _built(name: str, size: int, options: dict[str, object]) -> Backbone:
    return build_backbone(name, find_weights(name, NONE), size, seed=0, options=options)


def test_a_network_of_ones_own_that_draws_at_random_is_one_group() -> None:
    """No two passes give the same embedding, by which groups would be recognised."""

    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.rand(len(x), 5)

    assert backbone_of_custom_model(Noisy(), 32, "noisy.py:build").group_names == ["network"]
