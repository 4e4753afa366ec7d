"""Optimisers, and the learning rate and weight decay of each group of parameters."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from holotype.architectures.torch_classifier import TorchClassifier, layers_with_weights
from holotype.training.config.stage_config import GradientStage
from holotype.training.finetuning.layer_selection import LayerSelection, groups_above


def make_optimiser(
    classifier: TorchClassifier, selection: LayerSelection, stage: GradientStage
) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015), or SGD with momentum."""
    groups = parameter_groups(classifier, selection, stage)
    rate = stage.head_learning_rate  # every group brings its own
    # Not fused: moments that come back from a file have another memory format than the weights,
    # and the fused kernels take them for each other without a word.
    if stage.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=stage.momentum or 0.0)
    if stage.optimiser == "adam":
        return torch.optim.Adam(groups, lr=rate)
    return torch.optim.AdamW(groups, lr=rate)


def parameter_groups(
    classifier: TorchClassifier, selection: LayerSelection, stage: GradientStage
) -> list[dict[str, Any]]:
    """Everything that trains: the heads first, then each layer group downwards at a decayed rate.

    Norms and biases (parameters of one dimension) have no weight decay. The schedule multiplies
    `peak_learning_rate`.
    """
    backbone = classifier.backbone
    auxiliaries = trained_auxiliary_groups(classifier, selection)
    heads = [classifier.head, *(classifier.auxiliary_heads[name] for name in auxiliaries)]
    parameters = [parameter for head in heads for parameter in head.parameters()]
    groups = _with_and_without_decay(parameters, stage.head_learning_rate, stage)
    by_depth: dict[int, list[nn.Parameter]] = defaultdict(list)
    modules = dict(layers_with_weights(backbone))
    for layer in selection.layers:
        by_depth[groups_above(backbone, layer)] += modules[layer].parameters(recurse=False)
    decay = stage.layer_decay or 1.0
    for number, depth in enumerate(sorted(by_depth)):
        rate = (stage.learning_rate or 0.0) * decay**number
        groups += _with_and_without_decay(by_depth[depth], rate, stage)
    for name in auxiliaries:
        own = backbone.auxiliaries[name].parameters()
        groups += _with_and_without_decay(own, stage.learning_rate or 0.0, stage)
    return [group for group in groups if group["params"]]


def trained_auxiliary_groups(classifier: TorchClassifier, selection: LayerSelection) -> list[str]:
    """The groups above the cut that have an auxiliary classifier, which trains with them."""
    return (
        [] if selection.lowest is None else classifier.backbone.auxiliary_groups(selection.lowest)
    )


def _with_and_without_decay(
    parameters: Iterable[nn.Parameter], rate: float, stage: GradientStage
) -> list[dict[str, Any]]:
    parameters = list(parameters)
    shared = {"lr": rate, "peak_learning_rate": rate}
    return [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": stage.weight_decay or 0.0,
            **shared,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, **shared},
    ]
