"""Structured pruning: whole channels are cut from a network, which is then fine-tuned.

Channels that are connected, by a sum or a depthwise convolution, are cut together (Fang et al.
2023, "DepGraph: Towards Any Structural Pruning"); of each such group those with the smallest
weights go (Li et al. 2017, "Pruning Filters for Efficient ConvNets"). The share is the same in
every group, so the shapes do not depend on the weights. The embedding keeps its size.
"""

import warnings
from operator import itemgetter

import torch
from torch import nn

from holotype.architectures.profiling import embedding_size
from holotype.architectures.torch_classifier import (
    Backbone,
    layers_with_weights,
    number_of_parameters,
)
from holotype.errors import InvalidRecipe

MULTIPLE = 4  # of the channels that are cut, since processors take several at once


def prune_backbone(backbone: Backbone, image_size: int, share: float, model: str) -> str:
    """Cut this share of the channels of every layer, in place; returns what was cut, in words.

    Args:
        share: between 0 and 1.
        model: its name, in errors.

    Raises:
        InvalidRecipe: the network cannot be cut.
    """
    import torch_pruning

    before = number_of_parameters(backbone)
    size = embedding_size(backbone, image_size)
    layers = [m for _, m in layers_with_weights(backbone) if isinstance(m, nn.Conv2d | nn.Linear)]
    backbone.requires_grad_(True)  # as the trace of the connections needs it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch_pruning.pruner.BasePruner(
                backbone, torch.zeros(1, 3, image_size, image_size),
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=share, global_pruning=False, round_to=MULTIPLE,
                ignored_layers=layers[-1:], output_transform=itemgetter(0),
            ).step()  # fmt: skip
        same = embedding_size(backbone, image_size) == size
    except Exception as error:
        # What is raised by tracing a network that cannot be traced is anything.
        raise _refused(
            model, f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
        ) from None
    after = number_of_parameters(backbone)
    if not same or after == before:
        reason = "nothing of it could be cut" if same else "its embedding would change its size"
        raise _refused(model, reason)
    backbone.zero_grad(set_to_none=True)
    return f"pruned {share:.0%} of the channels: {before:,} parameters, now {after:,}"


def _refused(model: str, reason: str) -> InvalidRecipe:
    return InvalidRecipe(
        f"pruning: {model} cannot be pruned ({reason}). Leave pruning out, or take a network of "
        "convolutions, such as efficientnet_lite0 or resnet18."
    )
