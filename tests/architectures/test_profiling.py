"""The numbers of the catalogue are those of the networks."""

import pytest
import torch
from torch import nn

from holotype.architectures.build_backbone import build_backbone
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.architectures.profiling import embedding_size, measure_cost
from holotype.architectures.torch_classifier import Backbone, hash_weights

QUICK = ("cnn_baseline", "mobilenetv3_small", "resnet18")
NETWORKS = [row.name for row in ARCHITECTURES if row.kind != "classical"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_the_table_says_what_the_network_costs(name: str) -> None:
    row = next(row for row in ARCHITECTURES if row.name == name)
    backbone = build_backbone(name, find_weights(name, NONE), row.inputs.image_size, seed=0)
    measured = measure_cost(backbone, row.inputs.image_size)
    assert row.cost is not None
    assert row.cost.parameters == measured.parameters
    for said, found in (
        (row.cost.multiply_adds_millions, measured.multiply_adds_millions),
        (row.cost.activations_megabytes, measured.activations_megabytes),
    ):
        assert said == pytest.approx(found, rel=0.03)
    assert row.embedding_size == embedding_size(backbone, row.inputs.image_size)


def test_a_cost_can_be_counted_by_hand() -> None:
    """A convolution 3 -> 4 of 3 × 3 on 8 × 8 places, a norm, a rectifier."""
    groups = {
        "conv": nn.Conv2d(3, 4, 3, padding=1, bias=False),
        "norm": nn.BatchNorm2d(4),
        "relu": nn.ReLU(),
    }
    backbone = Backbone(groups, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())).eval()
    before = hash_weights(backbone)
    cost = measure_cost(backbone, 8)
    assert cost.parameters == 3 * 4 * 9 + 8
    assert cost.multiply_adds_millions == pytest.approx(3 * 4 * 9 * 64 / 1e6)
    # What the gradient needs of an image: the input, what the norm got, what the rectifier gave.
    floats = 3 * 64 + 4 * 64 + 4 * 64
    assert cost.activations_megabytes == pytest.approx(4 * floats / 1e6, rel=0.05)
    assert hash_weights(backbone) == before
    assert not any(module.training for module in backbone.modules())
    assert cost.training_gigabytes(32) == pytest.approx(
        (16 * cost.parameters + 32 * cost.activations_megabytes * 1e6) / 1e9
    )


def test_activations_are_counted_also_where_gradients_are_off() -> None:
    backbone = build_backbone("cnn_v1", find_weights("cnn_v1", NONE), 32, seed=0)
    expected = measure_cost(backbone, 32)
    assert expected.activations_megabytes > 0
    with torch.no_grad():
        assert measure_cost(backbone, 32) == expected
        assert not torch.is_grad_enabled()
