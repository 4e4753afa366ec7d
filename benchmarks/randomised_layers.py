"""Networks with weights drawn anew, for the sanity check of Adebayo et al. 2018."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from holotype.architectures.torch_classifier import TorchClassifier, layers_with_weights


def randomise_layers(
    classifier: TorchClassifier, layers: Sequence[str], seed: int = 0
) -> TorchClassifier:
    """A copy with random weights in these layers.

    Drawn from a normal distribution with the mean and standard deviation of each tensor, so that
    activations keep their scale; scales and shifts of norms stay for the same reason.

    Args:
        layers: names from `layers_top_down`.
    """
    changed = copy.deepcopy(classifier)
    named = dict(_all_layers_with_weights(changed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in layers:
            for parameter in named[name].parameters(recurse=False):
                if parameter.ndim > 1:
                    drawn = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(drawn * parameter.std() + parameter.mean())
    return changed


def layers_top_down(classifier: TorchClassifier) -> list[str]:
    """Layers with weight matrices, those of the head first."""
    return [
        name
        for name, layer in reversed(_all_layers_with_weights(classifier))
        if any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False))
    ]


def _all_layers_with_weights(classifier: TorchClassifier) -> list[tuple[str, nn.Module]]:
    head = [(f"head.{n}" if n else "head", m) for n, m in layers_with_weights(classifier.head)]
    return [*layers_with_weights(classifier.backbone), *head]
