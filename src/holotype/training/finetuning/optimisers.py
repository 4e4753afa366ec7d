"""Optimisers, and the rate and decay of each group of parameters."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from holotype.architectures.torch_classifier import Classifier, layers_with_weights
from holotype.errors import InvalidRecipe
from holotype.training.config.stage_config import GradientStage
from holotype.training.finetuning.trainable_layers import LayerSelection, groups_above

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def make_optimiser(
    classifier: "Classifier", selection: LayerSelection, stage: GradientStage
) -> "Optimizer":
    """AdamW (Loshchilov & Hutter 2019), Adam (Kingma & Ba 2015), or SGD with momentum."""
    import torch

    groups = parameter_groups(classifier, selection, stage)
    rate = stage.head_learning_rate  # every group brings its own
    if stage.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=stage.momentum or 0.0)
    if stage.optimiser == "adam":
        return torch.optim.Adam(groups, lr=rate)
    return torch.optim.AdamW(groups, lr=rate)


def parameter_groups(
    classifier: "Classifier", selection: LayerSelection, stage: GradientStage
) -> list[dict[str, Any]]:
    """Optimiser groups: the heads first, then each layer group downwards at a decayed rate.

    Norms and biases (parameters of one dimension) carry no weight decay. `peak_learning_rate` is
    what the schedule is a factor on.

    Raises:
        InvalidRecipe: rates decay from group to group, and only one group trains.
    """
    backbone = classifier.backbone
    heads = [*classifier.head.parameters(), *classifier.auxiliary_heads.parameters()]
    groups = _with_and_without_decay(heads, stage.head_learning_rate, stage)
    by_depth: dict[int, list[nn.Parameter]] = defaultdict(list)
    modules = layers_by_name(classifier)
    for layer in selection.layers:
        by_depth[groups_above(backbone, layer)] += modules[layer].parameters(recurse=False)
    decay = stage.layer_decay or 1.0
    if decay != 1.0 and len(by_depth) < 2:
        raise InvalidRecipe(
            f"stage {stage.name!r}: layer_decay {decay:g} sets the rates of groups apart, and only "
            f"one trains here ({selection.description}). Leave it out."
        )
    for number, depth in enumerate(sorted(by_depth)):
        rate = (stage.learning_rate or 0.0) * decay**number
        groups += _with_and_without_decay(by_depth[depth], rate, stage)
    for name in trained_auxiliary_groups(classifier, selection):
        parameters = backbone.auxiliaries[name].parameters()
        groups += _with_and_without_decay(parameters, stage.learning_rate or 0.0, stage)
    return [group for group in groups if group["params"]]


def layers_by_name(classifier: "Classifier") -> dict[str, "nn.Module"]:
    """The modules with weights of their own of the backbone."""
    return dict(layers_with_weights(classifier.backbone))


def trained_auxiliary_groups(classifier: "Classifier", selection: LayerSelection) -> list[str]:
    """The groups whose auxiliary classifier sees what trains."""
    return [] if selection.cut is None else classifier.backbone.auxiliary_groups(selection.cut)


def _with_and_without_decay(
    parameters: "Iterable[nn.Parameter]", rate: float, stage: GradientStage
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
