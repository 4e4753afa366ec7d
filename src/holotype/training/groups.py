"""Layer groups, their learning rates, and how the rate moves over the steps."""

import math
from typing import TYPE_CHECKING, Any

from holotype.errors import InvalidRecipe
from holotype.training.recipe import GradientStage

if TYPE_CHECKING:
    from torch import nn

    from holotype.models.classifier import Backbone, Classifier


def cut_below(backbone: "Backbone", trainable: int) -> int:
    """The cut under the topmost `trainable` groups.

    Raises:
        InvalidRecipe: the network has fewer groups.
    """
    names = backbone.group_names
    if trainable > len(names):
        raise InvalidRecipe(
            f"trainable: {trainable} groups asked for, the network has {len(names)}: "
            f"{', '.join(names)} (from the bottom to the top)."
        )
    return len(names) - trainable


def parameter_groups(
    classifier: "Classifier", cut: int, stage: GradientStage
) -> list[dict[str, Any]]:
    """Optimiser groups: head first, then each layer group downwards at a decayed rate.

    Norms and biases (parameters of one dimension) carry no weight decay.
    """
    names = classifier.backbone.group_names[cut:]
    groups = _with_and_without_decay(classifier.head, stage.head_learning_rate, stage)
    for depth, name in enumerate(reversed(names)):
        rate = stage.learning_rate * stage.layer_decay**depth
        groups += _with_and_without_decay(classifier.backbone.groups[name], rate, stage)
    # A norm after the pooling (ConvNeXt) learns with the topmost group.
    groups += _with_and_without_decay(classifier.backbone.pool, stage.learning_rate, stage)
    return [group for group in groups if group["params"]]


def _with_and_without_decay(
    module: "nn.Module", rate: float, stage: GradientStage
) -> list[dict[str, Any]]:
    parameters = list(module.parameters())
    return [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "lr": rate,
            "weight_decay": stage.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]


def warmup_then_cosine(step: int, *, steps: int, warmup: float) -> float:
    """Factor on the peak rate in (0, 1] for step 0 … steps-1.

    Rises linearly over the first `warmup` of all steps, never starting at zero, then falls as a
    cosine (Loshchilov & Hutter 2017, without restarts).
    """
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
