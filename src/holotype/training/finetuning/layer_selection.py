"""Select the layers that train, by groups, number or names, and the cut below the lowest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holotype.architectures.torch_classifier import Backbone, layers_with_weights
from holotype.errors import InvalidRecipe, did_you_mean
from holotype.training.config.stage_config import LAYERS_PATTERN, GradientStage, Trainable

POOL = "pool"


@dataclass(frozen=True)
class LayerSelection:
    """The layers of a backbone that train beside the head.

    Attributes:
        cut: everything below it is frozen and computed once; None where the head alone trains on
            embeddings. 0 where CutMix cuts images: what is frozen is then computed in every epoch.
        lowest: the lowest group that has a layer that trains; None where the head alone trains.
        layers: dotted names of modules with weights of their own, bottom to top.
        description: such as `layer3, layer4`.
    """

    cut: int | None
    lowest: int | None
    layers: tuple[str, ...]
    description: str


def select_for_stage(backbone: Backbone, stage: GradientStage) -> LayerSelection:
    """The layers that train in a stage, and where its activations are kept.

    Raises:
        InvalidRecipe: see `select_layers`; or rates decay from group to group, and only one trains.
    """
    selection = select_layers(backbone, stage.trainable)
    decay = stage.layer_decay or 1.0
    if decay != 1.0 and len({groups_above(backbone, layer) for layer in selection.layers}) < 2:
        raise InvalidRecipe(
            f"layer_decay {decay:g} has no effect: only one group trains "
            f"({selection.description}). Leave it out."
        )
    return selection if stage.cutmix is None else replace(selection, cut=0)


def select_layers(backbone: Backbone, trainable: Trainable) -> LayerSelection:
    """The layers that a recipe's `trainable` selects in this network.

    A layer after the pooling, such as a norm, belongs to the topmost group.

    Raises:
        InvalidRecipe: more groups or layers than there are, or an unknown name.
    """
    groups = backbone.group_names
    layers = [name for name, _ in layers_with_weights(backbone)]
    if trainable == 0:
        return LayerSelection(None, None, (), "the head alone")
    if trainable == "all":
        return LayerSelection(0, 0, tuple(layers), "the whole network")
    if isinstance(trainable, int):
        if trainable > len(groups):
            raise InvalidRecipe(
                f"trainable: {trainable} groups asked for, the network has {len(groups)}: "
                f"{', '.join(groups)} (from the bottom to the top). Take `trainable: "
                f"{len(groups)}`, or `--recipe linear`."
            )
        return _select_named(groups, layers, groups[-trainable:], ", ".join(groups[-trainable:]))
    if isinstance(trainable, str):
        match = LAYERS_PATTERN.fullmatch(trainable)
        assert match is not None
        count = int(match[1])
        if count > len(layers):
            raise InvalidRecipe(
                f"trainable: {count} layers asked for, the network has {len(layers)}."
            )
        selection = layers[-count:]
        description = (
            f"{count} layers from {selection[0]} up" if count > 1 else f"1 layer, {selection[0]}"
        )
        return _select_named(groups, layers, selection, description)
    return _select_named(groups, layers, trainable, ", ".join(trainable))


def _select_named(
    groups: Sequence[str], layers: Sequence[str], names: Sequence[str], description: str
) -> LayerSelection:
    selection = {layer for name in names for layer in _layers_named(groups, layers, name)}
    lowest = min(_group_number(groups, layer) for layer in selection)
    return LayerSelection(
        cut=lowest,
        lowest=lowest,
        layers=tuple(layer for layer in layers if layer in selection),
        description=description,
    )


def _layers_named(groups: Sequence[str], layers: Sequence[str], name: str) -> list[str]:
    """The layers of a group or module; with the topmost group also those after the pooling."""
    found = [layer for layer in layers if layer == name or layer.startswith(f"{name}.")]
    if name == groups[-1]:
        found += [layer for layer in layers if _is_in_pool(layer) and layer not in found]
    if not found:
        modules = {".".join(layer.split(".")[:n]) for layer in layers for n in range(1, 9)}
        raise InvalidRecipe(
            f"trainable: no layer is called {name!r}{did_you_mean(name, sorted(modules))} "
            f"The groups are {', '.join(groups)}; `holotype models NAME --groups` prints all."
        )
    return found


def _is_in_pool(layer: str) -> bool:
    return layer.split(".", 1)[0] == POOL


def _group_number(groups: Sequence[str], layer: str) -> int:
    return len(groups) - 1 if _is_in_pool(layer) else list(groups).index(layer.split(".", 1)[0])


def groups_above(backbone: Backbone, layer: str) -> int:
    """The number of groups above that of this layer."""
    return len(backbone.group_names) - 1 - _group_number(backbone.group_names, layer)
