"""What trains: groups of layers, layers or names, and the cut below the lowest of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holotype.errors import InvalidRecipe, did_you_mean
from holotype.training.stages import LAYERS, Trainable

if TYPE_CHECKING:
    from holotype.models.classifier import Backbone

POOL = "pool"


@dataclass(frozen=True)
class Chosen:
    """What of a backbone trains beside the head.

    Attributes:
        cut: below it everything is frozen and computed once; None: at the embedding, where the
            head alone trains.
        layers: modules with weights of their own that train, by dotted names, bottom to top.
        said: in words, such as `layer3, layer4`.
    """

    cut: int | None
    layers: tuple[str, ...]
    said: str


def what_trains(backbone: "Backbone", trainable: Trainable) -> Chosen:
    """The layers that a recipe's `trainable` means in this network.

    A layer above the last group (a norm after the pooling) belongs to the topmost group.

    Raises:
        InvalidRecipe: more groups or layers than there are, or a name that matches nothing.
    """
    from holotype.models.classifier import layers_of

    groups = backbone.group_names
    layers = [name for name, _ in layers_of(backbone)]
    if trainable == 0:
        return Chosen(None, (), "the head alone")
    if trainable == "all":
        return Chosen(0, tuple(layers), "the whole network")
    if isinstance(trainable, int):
        if trainable > len(groups):
            raise InvalidRecipe(
                f"trainable: {trainable} groups asked for, the network has {len(groups)}: "
                f"{', '.join(groups)} (from the bottom to the top)."
            )
        return _of_names(groups, layers, groups[-trainable:], ", ".join(groups[-trainable:]))
    if isinstance(trainable, str):
        match = LAYERS.fullmatch(trainable)
        assert match is not None
        count = int(match[1])
        if count > len(layers):
            raise InvalidRecipe(
                f"trainable: {count} layers asked for, the network has {len(layers)}."
            )
        chosen = layers[-count:]
        said = f"{count} layers from {chosen[0]} up" if count > 1 else f"1 layer, {chosen[0]}"
        return _of_names(groups, layers, chosen, said)
    return _of_names(groups, layers, trainable, ", ".join(trainable))


def _of_names(
    groups: Sequence[str], layers: Sequence[str], names: Sequence[str], said: str
) -> Chosen:
    chosen = {layer for name in names for layer in _below_name(groups, layers, name)}
    return Chosen(
        cut=min(_group_number(groups, layer) for layer in chosen),
        layers=tuple(layer for layer in layers if layer in chosen),
        said=said,
    )


def _below_name(groups: Sequence[str], layers: Sequence[str], name: str) -> list[str]:
    """The layers of a group or module; with the topmost group those above it."""
    found = [layer for layer in layers if layer == name or layer.startswith(f"{name}.")]
    if name == groups[-1]:
        found += [layer for layer in layers if _is_above_groups(layer) and layer not in found]
    if not found:
        modules = {".".join(layer.split(".")[:n]) for layer in layers for n in range(1, 9)}
        raise InvalidRecipe(
            f"trainable: no layer is called {name!r}{did_you_mean(name, sorted(modules))} "
            f"The groups are {', '.join(groups)}; `holotype models NAME --groups` prints all."
        )
    return found


def _is_above_groups(layer: str) -> bool:
    return layer.split(".", 1)[0] == POOL


def _group_number(groups: Sequence[str], layer: str) -> int:
    return (
        len(groups) - 1 if _is_above_groups(layer) else list(groups).index(layer.split(".", 1)[0])
    )


def depth_of(backbone: "Backbone", layer: str) -> int:
    """How many groups lie above the one of this layer."""
    return len(backbone.group_names) - 1 - _group_number(backbone.group_names, layer)
