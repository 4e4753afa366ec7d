"""Measure parameters, multiply-adds and activations of a network."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from holotype.architectures.architecture import NetworkCost
from holotype.architectures.torch_classifier import Backbone, number_of_parameters


def measure_cost(backbone: Backbone, image_size: int) -> NetworkCost:
    """The cost for one image of this size; the backbone does not change."""
    x = torch.randn(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(x)
    return NetworkCost(
        parameters=number_of_parameters(backbone),
        multiply_adds_millions=counter.get_total_flops() / 2e6,
        activations_megabytes=_activation_bytes(backbone, x) / 1e6,
    )


def embedding_size(backbone: Backbone, image_size: int) -> int:
    """D for images of this size."""
    with torch.no_grad():
        embedding, _ = backbone(torch.zeros(1, 3, image_size, image_size))
    return int(embedding.shape[1])


def _activation_bytes(backbone: Backbone, x: Tensor) -> int:
    """Bytes that autograd keeps per image, without weights, each storage counted once.

    Batch norm is in training mode, where it keeps its input.
    """
    backbone = copy.deepcopy(backbone)  # whose modes and statistics change
    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    kept: dict[int, Tensor] = {}  # the tensors too, so that no storage is freed and used again

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    two = torch.cat([x, x.flip(3)])  # batch norm needs more than one value per channel
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.enable_grad():
        backbone(two)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // len(two)
