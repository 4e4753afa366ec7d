"""The networks that are trained from nothing are built as their papers say."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holotype.architectures.catalog import CATALOG
from holotype.architectures.networks.cnn_v2 import (
    ChannelSpatialAttention,
    PreActivationBlock,
    cnn_v2_dense,
    cnn_v2_hybrid,
)
from holotype.architectures.networks.plain_cnns import (
    cnn_baseline,
    cnn_v1,
    cnn_v1_residual,
    vgg19_scratch,
)
from holotype.architectures.torch_classifier import Backbone, TorchClassifier


def _convolutions(backbone: Backbone) -> list[nn.Conv2d]:
    return [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]


def test_the_plain_networks_have_the_widths_that_they_are_named_for() -> None:
    for backbone, widths in (
        (cnn_baseline(), [32, 64, 128]),
        (cnn_v1(), [32, 64, 128, 256]),
    ):
        assert [conv.out_channels for conv in _convolutions(backbone)] == widths
        assert len(backbone.groups) == len(widths)


def test_every_shortcut_can_be_the_identity() -> None:
    """With the last convolution of a block at zero the block hands on what it got."""
    torch.manual_seed(0)
    plain, residual = cnn_v1(), cnn_v1_residual()
    residual.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in residual.named_parameters():
        if ".4.conv" in name:
            nn.init.zeros_(parameter)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(residual.eval()(x)[0], plain.eval()(x)[0])


def test_nothing_stands_on_the_shortcut_of_an_identity_mapping() -> None:
    block = PreActivationBlock(8, 8, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 8, 6, 6)  # with negative numbers, which a rectifier would take away
    assert torch.equal(block(x), x)


def test_a_dense_layer_hands_on_all_that_it_got() -> None:
    layer = next(m for m in cnn_v2_dense().modules() if type(m).__name__ == "DenseLayer")
    x = torch.randn(2, 32, 6, 6)
    y = layer.eval()(x)
    assert y.shape == (2, 48, 6, 6)
    assert torch.equal(y[:, :32], x)


def test_the_hybrid_has_separable_convolutions_dense_connections_and_shortcuts() -> None:
    backbone = cnn_v2_hybrid().eval()
    depthwise = [conv for conv in _convolutions(backbone) if conv.groups > 1]
    assert depthwise
    assert all(conv.groups == conv.in_channels for conv in depthwise)
    block = next(m for m in backbone.modules() if type(m).__name__ == "HybridBlock")
    channels = block.mix.out_channels
    assert block.mix.in_channels == 2 * channels  # what came in, and two layers of half as much
    nn.init.zeros_(block.mix.weight)
    nn.init.zeros_(block.norm.bias)
    x = torch.randn(2, channels, 6, 6)
    assert torch.allclose(block(x), x)


def test_attention_is_that_of_the_paper() -> None:
    """CBAM's equations 2 and 3 in NumPy: the MLP of both poolings, then a 7 × 7 convolution."""
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 5)
    attention = ChannelSpatialAttention(16)
    channels: Any = attention.channels
    first, _, second = channels
    with torch.no_grad():
        actual = attention(x).numpy()
    w1, b1, w2, b2 = (
        tensor.detach().double().numpy().reshape(tensor.shape[0], -1)
        for layer in (first, second) for tensor in (layer.weight, layer.bias)
    )  # fmt: skip

    def mlp(pooled_ND: np.ndarray) -> np.ndarray:
        return np.maximum(pooled_ND @ w1.T + b1[:, 0], 0) @ w2.T + b2[:, 0]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    x_NDHW = x.double().numpy()
    of_channels = sigmoid(mlp(x_NDHW.mean((2, 3))) + mlp(x_NDHW.max((2, 3))))
    x_NDHW = x_NDHW * of_channels[..., None, None]
    both_N2HW = np.stack([x_NDHW.mean(1), x_NDHW.max(1)], axis=1)
    kernel = attention.places.weight.detach().double().numpy()[0]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(both_N2HW, [(0, 0), (0, 0), (3, 3), (3, 3)]), (7, 7), axis=(2, 3)
    )
    of_places = sigmoid(np.einsum("nchwij,cij->nhw", windows, kernel))
    assert np.allclose(actual, x_NDHW * of_places[:, None], atol=1e-5)


def test_vgg19_has_sixteen_convolutions_drawn_as_he_did() -> None:
    torch.manual_seed(0)
    backbone = vgg19_scratch()
    convolutions = _convolutions(backbone)
    assert len(convolutions) == 16
    for conv in convolutions[2:]:
        deviation = (2 / (conv.out_channels * 9)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert not conv.bias.any()
    row = CATALOG["vgg19_scratch"]
    classifier = TorchClassifier(backbone, 2048, 10, row.head)
    widths = [
        layer.out_features for layer in classifier.head.children() if isinstance(layer, nn.Linear)
    ]
    assert widths == [4096, 4096, 10]


@pytest.mark.parametrize(
    "name",
    [
        "cnn_baseline",
        "cnn_v1",
        pytest.param("cnn_v2_residual", marks=pytest.mark.slow),
        pytest.param("cnn_v2_hybrid", marks=pytest.mark.slow),
    ],
)
def test_they_learn_to_tell_two_textures_apart(name: str) -> None:
    """Twenty steps on stripes against their transpose, which no mean colour tells apart."""
    from holotype.architectures.build_backbone import NETWORKS

    torch.manual_seed(0)
    backbone = NETWORKS[name]()
    row = CATALOG[name]
    classifier = TorchClassifier(backbone, row.embedding_size or 0, 2)
    optimiser = torch.optim.Adam(classifier.parameters(), 1e-3)
    for step in range(20):
        images, targets = _stripes(16, seed=step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(classifier.train()(images), targets).backward()
        optimiser.step()
    images, targets = _stripes(64, seed=1000)
    with torch.no_grad():
        right = classifier(images).argmax(1) == targets  # batch statistics: too few steps
    assert right.float().mean() > 0.9


def _stripes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    phase = torch.randint(0, 4, (count,), generator=generator)
    rows = ((torch.arange(32)[None] + phase[:, None]) // 2 % 2).float() * 2 - 1
    images = rows[:, None, :, None].expand(count, 3, 32, 32).clone()
    targets = torch.randint(0, 2, (count,), generator=generator)
    images[targets == 1] = images[targets == 1].transpose(2, 3)
    return images + 0.5 * torch.randn(images.shape, generator=generator), targets
