"""A network without its classifier -> a backbone of groups; the modules are shared.

A layout is recognised, not declared: it is taken where the network has its modules *and* gives bit
for bit the same numbers through it. Else the whole network is one group.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from holotype.architectures.networks.cnn_v1 import global_average_pooling
from holotype.architectures.torch_classifier import AuxiliaryBranch, Backbone
from holotype.errors import InvalidRecipe


def split_into_groups(network: nn.Module, image_size: int) -> Backbone:
    """The backbone, left in evaluation mode.

    Raises:
        InvalidRecipe: the network refuses images of this size.
    """
    network.eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, image_size, image_size, generator=generator)
    with torch.no_grad():
        expected = _embedding(network, x)
        for modules, layout in GROUP_LAYOUTS:
            if modules <= set(_children(network)):
                backbone = _try_layout(layout, network, x, expected)
                if backbone is not None:
                    return backbone
    return _timm_as_one_group(network).eval()


def _try_layout(
    layout: "GroupLayout", network: nn.Module, x: Tensor, expected: Tensor
) -> Backbone | None:
    """The network in this layout, if that is all of it and gives the same numbers."""
    try:
        backbone = layout(network).eval()
        embedding = backbone(x)[0]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError):
        return None  # a relative with the same names for other things
    owned = {id(parameter) for parameter in backbone.parameters()}
    if not all(id(parameter) in owned for parameter in network.parameters()):
        return None
    return backbone if torch.equal(embedding, expected) else None


def _embedding(network: nn.Module, x: Tensor) -> Tensor:
    try:
        return cast(Tensor, network(x))
    except (RuntimeError, AssertionError) as error:
        raise InvalidRecipe(
            f"image_size {x.shape[-1]} is refused by this network "
            f"({str(error).splitlines()[0]}); choose its native size (`holotype models`)."
        ) from None


def backbone_of_custom_model(network: nn.Module, image_size: int, model: str) -> Backbone:
    """A user's network as a backbone: (N, 3, H, W) -> feature map (N, D, h, w) or embedding (N, D).

    Where it is a chain of its children they are its groups; else it is one group.

    Args:
        model: how the user named it, for what is said.

    Raises:
        InvalidRecipe: it fails on images of this size, or gives something else.
    """
    network.eval()
    if isinstance(network, Backbone):
        return network
    x = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            output = network(x)
        except Exception as error:
            raise InvalidRecipe(
                f"{model}: the network fails on images of {image_size} pixels: "
                f"{type(error).__name__}: {str(error).splitlines()[0]}"
            ) from error
        is_tensor = isinstance(output, Tensor)
        if not is_tensor or output.ndim not in (2, 4) or len(output) != len(x):
            given = f"a tensor of shape {tuple(output.shape)}" if is_tensor else type(output)
            raise InvalidRecipe(
                f"{model}: the network turns (2, 3, {image_size}, {image_size}) into {given}; "
                "expected a feature map (2, D, h, w) or an embedding (2, D)."
            )
        expected = output if output.ndim == 2 else global_average_pooling()(output)
        for layout in (partial(_sequential_groups, x=x), _one_group):
            backbone = _try_layout(layout, network, x, expected)
            if backbone is not None:
                return backbone
    raise AssertionError("one group is the network itself")


def _sequential_groups(network: nn.Module, x: Tensor) -> Backbone:
    """Children up to the last that gives a map of several cells; those above make the embedding.

    What has no weights belongs to the group below it.
    """
    children = _children(network)
    maps = []
    for name, child in children.items():
        x = child(x)
        maps += [name] if x.ndim == 4 and x.shape[-1] > 1 else []
    runs: dict[str, list[nn.Module]] = {}
    names = list(children)
    below = names[: names.index(maps[-1]) + 1]
    for name in below:
        has_weights = next(children[name].parameters(), None) is not None
        if has_weights or not runs:
            runs[name] = []
        runs[list(runs)[-1]].append(children[name])
    groups = {name: run[0] if len(run) == 1 else nn.Sequential(*run) for name, run in runs.items()}
    above = [children[name] for name in names[len(below) :]]
    return Backbone(groups, nn.Sequential(*above) if x.ndim == 2 else global_average_pooling())


def _one_group(network: nn.Module) -> Backbone:
    return Backbone({"network": network}, _MapToEmbedding())


class _MapToEmbedding(nn.Module):
    """The mean over the cells of a map; an embedding is left as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = global_average_pooling()

    def forward(self, x: Tensor) -> Tensor:
        return self.mean(x) if x.ndim == 4 else x


def _children(network: nn.Module) -> dict[str, nn.Module]:
    return dict(network.named_children())


def _efficientnet(network: nn.Module) -> Backbone:
    children = _children(network)
    groups: dict[str, nn.Module] = {"stem": nn.Sequential(children["conv_stem"], children["bn1"])}
    groups |= _numbered("block", children["blocks"])
    groups["top"] = nn.Sequential(children["conv_head"], children["bn2"])
    if isinstance(children["conv_head"], nn.Identity):  # MobileNetV1
        groups.pop("top")
    return Backbone(groups, children["global_pool"])


def _mobilenetv3(network: nn.Module) -> Backbone:
    children = _children(network)
    groups: dict[str, nn.Module] = {"stem": nn.Sequential(children["conv_stem"], children["bn1"])}
    groups |= _numbered("block", children["blocks"])
    # The last convolution follows the pooling: a cell must pass it too before the head sees it.
    cells = nn.Sequential(children["conv_head"], children["norm_head"], children["act2"])
    return Backbone(
        groups, nn.Sequential(children["global_pool"], cells, children["flatten"]), cells
    )


def _mobilenetv2_of_torchvision(network: nn.Module) -> Backbone:
    """The groups are those of the network of the same name in timm."""
    children = _children(network)
    layers = list(cast(nn.Sequential, children["features"]))
    bounds = (1, 2, 4, 7, 11, 14, 17, 18)
    groups: dict[str, nn.Module] = {"stem": layers[0]}
    for number, (first, last) in enumerate(pairwise(bounds)):
        groups[f"block{number}"] = nn.Sequential(*layers[first:last])
    groups["top"] = layers[18]
    return Backbone(groups, global_average_pooling())


def _resnet(network: nn.Module) -> Backbone:
    children = _children(network)
    stem = nn.Sequential(children["conv1"], children["bn1"], children["act1"], children["maxpool"])
    layers = {name: children[name] for name in ("layer1", "layer2", "layer3", "layer4")}
    return Backbone({"stem": stem, **layers}, children["global_pool"])


def _resnetv2(network: nn.Module) -> Backbone:
    children = _children(network)
    head = _children(children["head"])
    groups = {"stem": children["stem"], **_numbered("stage", children["stages"])}
    last = list(groups)[-1]
    groups[last] = nn.Sequential(groups[last], children["norm"])
    return Backbone(groups, nn.Sequential(head["global_pool"], head["flatten"]))


def _convnext(network: nn.Module) -> Backbone:
    children = _children(network)
    head = _children(children["head"])
    groups = {"stem": children["stem"], **_numbered("stage", children["stages"])}
    pool = nn.Sequential(head["global_pool"], head["norm"], head["flatten"])
    # The norm follows the pooling, so that a cell must pass it too before the head may see it.
    return Backbone(groups, pool, map_cells=head["norm"])


def _densenet(network: nn.Module) -> Backbone:
    children = _children(network)
    layers = _children(children["features"])
    names = [name for name in layers if name.startswith("denseblock")]
    stem = [layer for name, layer in layers.items() if name.endswith("0")]
    groups: dict[str, nn.Module] = {"stem": nn.Sequential(*stem)}
    for number, name in enumerate(names, start=1):
        after = layers.get(f"transition{number}") or layers["norm5"]
        groups[f"block{number}"] = nn.Sequential(layers[name], after)
    return Backbone(groups, children["global_pool"])


def _vgg(network: nn.Module) -> Backbone:
    children = _children(network)
    head = _children(children["head"])
    groups = dict(_runs_ending_with(children["features"], nn.MaxPool2d, "block"))
    groups["dense"] = children["pre_logits"]
    return Backbone(groups, head["global_pool"])


def _inception_v3(network: nn.Module) -> Backbone:
    children = _children(network)

    def chain(*names: str) -> nn.Module:
        return nn.Sequential(*[children[name] for name in names])

    groups = {
        "stem": chain(
            "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Pool1",
            "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Pool2",
        ),
        "mixed5": chain("Mixed_5b", "Mixed_5c", "Mixed_5d"),
        "mixed6": chain("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
        "mixed7": chain("Mixed_7a", "Mixed_7b", "Mixed_7c"),
    }  # fmt: skip
    return Backbone(groups, children["global_pool"])


def _googlenet(network: nn.Module) -> Backbone:
    """Groups end where the auxiliary classifiers look (Szegedy et al. 2015, figure 3)."""
    children = _children(network)

    def chain(*names: str) -> nn.Module:
        return nn.Sequential(*[children[name] for name in names])

    groups = {
        "stem": chain("conv1", "maxpool1", "conv2", "conv3", "maxpool2"),
        "inception3": chain("inception3a", "inception3b", "maxpool3"),
        "inception4a": chain("inception4a"),
        "inception4d": chain("inception4b", "inception4c", "inception4d"),
        "inception5": chain("inception4e", "maxpool4", "inception5a", "inception5b"),
    }
    auxiliaries = {
        tap: _auxiliary_of_googlenet(children[name])
        for tap, name in (("inception4a", "aux1"), ("inception4d", "aux2"))
        if name in children
    }
    return Backbone(groups, global_average_pooling(), auxiliaries=auxiliaries)


def _auxiliary_of_googlenet(network: nn.Module) -> AuxiliaryBranch:
    """torchvision's auxiliary classifier up to its last layer, which is replaced."""
    children = _children(network)
    layers = nn.Sequential(
        nn.AdaptiveAvgPool2d(4), children["conv"], nn.Flatten(),
        children["fc1"], nn.ReLU(), children["dropout"],
    )  # fmt: skip
    return AuxiliaryBranch(layers, cast(nn.Linear, children["fc1"]).out_features)


class _Tokens(nn.Module):
    """A vision transformer's way from an image to tokens (N, T, D).

    It owns the patch embedding; the position embedding and the class token, which are parameters
    of the network itself, are registered here under their own names.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its blocks are not registered here
        for name, module in network.named_children():
            if name in ("patch_embed", "pos_drop", "patch_drop", "norm_pre"):
                self.add_module(name, module)
        for name, parameter in network.named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self._network[0]
        x = network._pos_embed(network.patch_embed(x))
        return cast(Tensor, network.norm_pre(network.patch_drop(x)))


TRANSFORMER_GROUPS = 4


def _vision_transformer(network: nn.Module) -> Backbone:
    children = _children(network)
    blocks = list(cast(nn.Sequential, children["blocks"]))
    groups: dict[str, nn.Module] = {"tokens": _Tokens(network)}
    bounds = [len(blocks) * n // TRANSFORMER_GROUPS for n in range(TRANSFORMER_GROUPS + 1)]
    for number, (first, last) in enumerate(pairwise(bounds)):
        groups[f"blocks{number}"] = nn.Sequential(*blocks[first:last])
    last_group = cast(nn.Sequential, groups[f"blocks{TRANSFORMER_GROUPS - 1}"])
    last_group.append(children["norm"])
    pool = _TimmPool(network)
    pool.norm = children["fc_norm"]
    return Backbone(groups, pool)


def _numbered(name: str, modules: nn.Module) -> dict[str, nn.Module]:
    return {f"{name}{number}": module for number, module in enumerate(modules.children())}


def _runs_ending_with(
    layers: nn.Module, last: type[nn.Module], name: str
) -> Iterator[tuple[str, nn.Module]]:
    """Runs of layers, each ending with one of this type."""
    run: list[nn.Module] = []
    number = 1
    for layer in layers.children():
        run.append(layer)
        if isinstance(layer, last):
            yield f"{name}{number}", nn.Sequential(*run)
            run, number = [], number + 1


class _TimmFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.network
        return cast(Tensor, network.forward_features(x))


class _TimmPool(nn.Module):
    """timm's own way from features to embedding; it shares the network and owns no weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its weights are not registered twice

    def forward(self, features: Tensor) -> Tensor:
        network: Any = self._network[0]
        return cast(Tensor, network.forward_head(features, pre_logits=True))


def _timm_as_one_group(network: nn.Module) -> Backbone:
    return Backbone({"network": _TimmFeatures(network)}, _TimmPool(network))


GroupLayout = Callable[[nn.Module], Backbone]

GROUP_LAYOUTS: tuple[tuple[set[str], GroupLayout], ...] = (
    ({"conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool"}, _efficientnet),
    ({"conv_stem", "bn1", "blocks", "conv_head", "norm_head", "act2"}, _mobilenetv3),
    ({"conv1", "bn1", "act1", "maxpool", "layer4", "global_pool"}, _resnet),
    ({"stem", "stages", "norm_pre", "head"}, _convnext),
    ({"stem", "stages", "norm", "head"}, _resnetv2),
    ({"features", "pre_logits", "head"}, _vgg),
    ({"features", "global_pool"}, _densenet),
    ({"Conv2d_1a_3x3", "Mixed_7c", "global_pool"}, _inception_v3),
    ({"conv1", "maxpool1", "inception5b", "avgpool"}, _googlenet),
    ({"patch_embed", "blocks", "norm", "fc_norm"}, _vision_transformer),
    ({"features", "classifier"}, _mobilenetv2_of_torchvision),
)
