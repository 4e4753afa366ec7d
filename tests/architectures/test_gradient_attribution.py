"""Gradients and attention say of a network what other ways to compute them say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.randomised_layers import layers_top_down, randomise_layers
from holotype.architectures.gradient_attribution import (
    ClassLogOdds,
    attention_rollout,
    frozen,
    grad_cam,
    grad_cam_plus_plus,
    integrated_gradients,
    last_spatial_layer,
    logits_of,
)
from holotype.architectures.layer_groups import split_into_groups
from holotype.architectures.torch_classifier import TorchClassifier
from holotype.errors import UsageError
from tests.architectures.images import soft_images, with_statistics
from tests.training.tiny import classifier as tiny_classifier

SIDE = 32


@pytest.fixture(scope="module")
def network() -> TorchClassifier:
    made = tiny_classifier(seed=3)
    with_statistics(made.backbone, SIDE)
    return frozen(made)


@pytest.fixture(scope="module")
def image_CHW() -> NDArray[np.float32]:
    return soft_images(1, SIDE, seed=2)[0].numpy()


@pytest.fixture(scope="module")
def transformer() -> TorchClassifier:
    return _transformer(global_pool="token")


def _transformer(**options: object) -> TorchClassifier:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(1)
    network = VisionTransformer(
        img_size=SIDE, patch_size=8, embed_dim=24, depth=4, num_heads=3, num_classes=0, **options
    )
    return frozen(TorchClassifier(split_into_groups(network, SIDE), 24, 3))


@pytest.mark.parametrize("layer", ["low", "low.0", "low.1", "middle", "middle.0", "high.1"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_grad_cam_of_any_layer_is_captums(
    network: TorchClassifier, image_CHW: NDArray[np.float32], layer: str, temperature: float
) -> None:
    log_odds = ClassLogOdds(network, 1, temperature)
    module = network.backbone.groups.get_submodule(layer)
    x = torch.from_numpy(image_CHW)[None].requires_grad_()
    expected_hw = LayerGradCam(log_odds, module).attribute(x)[0, 0].detach().numpy()
    found_hw = grad_cam(log_odds, image_CHW, layer)
    np.testing.assert_allclose(found_hw, expected_hw, atol=1e-3 * np.ptp(expected_hw))
    assert np.ptp(found_hw) > 1e-4, "a flat map would agree with anything"


def test_the_evidence_is_the_log_odds_of_the_class(network: TorchClassifier) -> None:
    x = soft_images(5, SIDE, seed=4)
    p_NC = torch.softmax(network(x) / 1.7, dim=1).double()
    for number in range(3):
        expected_N = torch.log(p_NC[:, number] / (1 - p_NC[:, number]))
        found_N = ClassLogOdds(network, number, 1.7)(x).double()
        torch.testing.assert_close(found_N, expected_N, atol=1e-5, rtol=1e-5)


def test_grad_cam_plus_plus_weighs_by_the_higher_derivatives_of_the_odds(
    image_CHW: NDArray[np.float32],
) -> None:
    """Equation 10 of the paper, its second and third derivatives from automatic differentiation.

    Of two classes the log-odds are linear in the last map, as the paper assumes of its score.
    """
    made = tiny_classifier(seed=5)
    with_statistics(made.backbone, SIDE)
    classifier = frozen(TorchClassifier(made.backbone, 16, 2)).double()
    x = torch.from_numpy(image_CHW)[None].double()
    activation = classifier.backbone.run_groups(x).detach().requires_grad_()
    logits_C = classifier.head(classifier.backbone.pool(activation))[0]
    odds = (logits_C[0] - logits_C[1]).exp()
    first, second, third = _derivatives_place_by_place(odds, activation)
    sums = activation.sum(dim=(2, 3), keepdim=True)
    alpha = second / (2 * second + sums * third)
    weights_D = (alpha * first.clamp(min=0)).sum(dim=(2, 3))[0]
    expected_hw = torch.einsum("d,dhw->hw", weights_D, activation[0]).detach().numpy()
    single = classifier.float()
    found_hw = grad_cam_plus_plus(ClassLogOdds(single, 0), image_CHW, "high")
    np.testing.assert_allclose(
        found_hw / found_hw.max(), expected_hw / expected_hw.max(), atol=1e-4
    )
    plain_hw = grad_cam(ClassLogOdds(single, 0), image_CHW, "high")
    assert not np.allclose(plain_hw / plain_hw.max(), found_hw / found_hw.max(), atol=1e-2)


def _derivatives_place_by_place(value: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First, second and third derivative of a value with respect to each number alone."""
    (first,) = torch.autograd.grad(value, at, create_graph=True)
    second, third = torch.zeros_like(first), torch.zeros_like(first)
    # One place of each channel: of a mean over places all places are the same.
    for channel in range(at.shape[1]):
        g = first[0, channel, 0, 0]
        (row,) = torch.autograd.grad(g, at, create_graph=True)
        (row2,) = torch.autograd.grad(row[0, channel, 0, 0], at, retain_graph=True)
        second[0, channel], third[0, channel] = row[0, channel, 0, 0], row2[0, channel, 0, 0]
    return first.detach(), second.detach(), third.detach()


def test_integrated_gradients_sum_to_what_the_image_adds(
    network: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    log_odds = ClassLogOdds(network, 2)
    found_CHW = integrated_gradients(log_odds, image_CHW)
    x = torch.from_numpy(image_CHW)[None]
    added = float(log_odds(x) - log_odds(torch.zeros_like(x)))
    assert abs(added) > 0.05
    assert found_CHW.sum() == pytest.approx(added, abs=0.01 * abs(added))


def test_integrated_gradients_of_a_linear_network_are_weight_times_input() -> None:
    linear = _Linear()
    x_CHW = soft_images(1, 4, seed=1)[0].numpy()
    found_CHW = integrated_gradients(ClassLogOdds(linear, 0), x_CHW, steps=3)
    weight = (linear.layer.weight[0] - linear.layer.weight[1]).detach().numpy()
    np.testing.assert_allclose(found_CHW.ravel(), weight * x_CHW.ravel(), atol=1e-5)


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def test_the_last_layer_with_a_map_is_found(
    network: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    assert last_spatial_layer(ClassLogOdds(network, 0), image_CHW) == "high"


def test_of_a_transformer_that_reads_the_class_token_it_is_the_last_norm_before_attention(
    transformer: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    log_odds = ClassLogOdds(transformer, 0)
    assert last_spatial_layer(log_odds, image_CHW) == "blocks3.0.norm1"
    assert np.ptp(grad_cam(log_odds, image_CHW, "blocks3.0.norm1")) > 0
    assert np.ptp(grad_cam(log_odds, image_CHW, "blocks3.0")) == 0, "no patch matters there"


def test_of_a_transformer_that_reads_all_tokens_it_is_the_last_group(
    image_CHW: NDArray[np.float32],
) -> None:
    mean = _transformer(global_pool="avg", class_token=False)
    assert last_spatial_layer(ClassLogOdds(mean, 0), image_CHW) == "blocks3"


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_rollout_multiplies_the_attention_of_all_blocks(
    pool: str, image_CHW: NDArray[np.float32]
) -> None:
    """The attention is computed here from queries and keys, in NumPy."""
    network = _transformer(global_pool=pool)
    x = torch.from_numpy(image_CHW)[None]
    blocks = [m for m in network.backbone.modules() if type(m).__name__ == "Block"]
    rolled_TT = np.eye(17)
    attentions: list[Any] = [block.attn for block in blocks]
    with _inputs_of(attentions) as inputs:
        network(x)
    for block, x_TD in zip(blocks, inputs, strict=True):
        weight, bias = block.attn.qkv.weight.double().numpy(), block.attn.qkv.bias.double().numpy()
        qkv = (x_TD @ weight.T + bias).reshape(17, 3, 3, 8)
        scores = np.einsum("qhd,khd->hqk", qkv[:, 0], qkv[:, 1]) / np.sqrt(8)
        attention = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
        rolled_TT = (0.5 * attention.mean(axis=0) + 0.5 * np.eye(17)) @ rolled_TT
    expected_T = rolled_TT[0] if pool == "token" else rolled_TT[1:].mean(axis=0)
    found_hw = attention_rollout(network, image_CHW)
    np.testing.assert_allclose(found_hw, expected_T[1:].reshape(4, 4), atol=1e-6)


@contextmanager
def _inputs_of(modules: list[nn.Module]) -> Iterator[list[NDArray[np.float64]]]:
    inputs: list[NDArray[np.float64]] = []
    handles = [
        module.register_forward_pre_hook(
            lambda _, given: inputs.append(given[0][0].double().numpy())
        )
        for module in modules
    ]
    yield inputs
    for handle in handles:
        handle.remove()


def test_a_network_is_left_as_it_was(
    transformer: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    before = logits_of(transformer, image_CHW[None])
    kinds = [m.fused_attn for m in transformer.backbone.modules() if hasattr(m, "fused_attn")]
    attention_rollout(transformer, image_CHW)
    last_spatial_layer(ClassLogOdds(transformer, 0), image_CHW)
    after = [m.fused_attn for m in transformer.backbone.modules() if hasattr(m, "fused_attn")]
    assert kinds == after
    np.testing.assert_array_equal(before, logits_of(transformer, image_CHW[None]))
    assert not any(m._forward_hooks for m in transformer.modules())


def test_a_network_without_attention_has_no_rollout(
    network: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    with pytest.raises(UsageError, match=r"needs a transformer.*--method gradcam"):
        attention_rollout(network, image_CHW)


def test_an_unknown_layer_is_answered_with_the_nearest(
    network: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    with pytest.raises(UsageError, match=r"no layer 'midle'.*'middle'.*low, middle, high"):
        grad_cam(ClassLogOdds(network, 0), image_CHW, "midle")


def test_a_layer_without_a_map_is_refused(
    transformer: TorchClassifier, image_CHW: NDArray[np.float32]
) -> None:
    torch.manual_seed(0)
    groups = {
        "low": nn.Conv2d(3, 4, 3),
        "flat": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    }
    from holotype.architectures.torch_classifier import Backbone

    flat = frozen(TorchClassifier(Backbone(groups, nn.Identity()), 4, 2))
    with pytest.raises(UsageError, match=r"'flat' gives \(4,\), which is no map"):
        grad_cam(ClassLogOdds(flat, 0), image_CHW, "flat")
    assert last_spatial_layer(ClassLogOdds(flat, 0), image_CHW) == "low"


def test_weights_drawn_anew_are_those_of_the_layers_named_and_as_large(
    network: TorchClassifier,
) -> None:
    names = layers_top_down(network)
    assert names == ["head", "high.0", "middle.0", "low.0"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    changed = randomise_layers(network, names[:2], seed=1).state_dict()
    drawn = {"head.weight", "backbone.groups.high.0.weight"}
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), "the network itself is left alone"
        assert torch.equal(value, changed[key]) == (key not in drawn)
    for key in drawn:
        assert changed[key].std() == pytest.approx(float(before[key].std()), rel=0.3)
        assert abs(np.corrcoef(changed[key].ravel(), before[key].ravel())[0, 1]) < 0.35


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("vit_small", 64, "blocks3.2.norm1"),
        ("dinov2_small", 56, "blocks3.2.norm1"),
        ("vgg16", 96, "block5"),
        ("vgg19", 96, "block5"),
        ("vgg19_scratch", 64, "block5"),
        ("timm:swin_tiny_patch4_window7_224", 224, "network"),
    ],
)
def test_networks_without_a_class_activation_map_have_a_layer_for_grad_cam(
    name: str, size: int, layer: str
) -> None:
    from holotype.architectures.build_backbone import build_backbone
    from holotype.architectures.pretrained_weights import NONE, find_weights

    backbone = build_backbone(name, find_weights(name, NONE), size, seed=0)
    x_CHW = soft_images(1, size)[0].numpy()
    with torch.no_grad():
        embedding_size = backbone(torch.from_numpy(x_CHW)[None])[0].shape[1]
    log_odds = ClassLogOdds(frozen(TorchClassifier(backbone, embedding_size, 3)), 1)
    assert last_spatial_layer(log_odds, x_CHW) == layer
    assert np.ptp(grad_cam(log_odds, x_CHW, layer)) > 0
