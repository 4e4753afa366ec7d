"""A network without its classifier -> a backbone of groups; the modules are shared.

A layout is recognised, not declared: it is taken where the network has its modules, owns no others
with weights, and gives bit for bit the same embedding through it. Else the whole network is one
group.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from holotype.architectures.networks.plain_cnns import global_average_pooling
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
        for layout in LAYOUTS:
            backbone = _try_layout(layout, network, x, expected)
            if backbone is not None:
                return backbone
    return Backbone({"network": _TimmFeatures(network)}, _TimmPool(network)).eval()


def _try_layout(
    layout: Callable[[nn.Module], Backbone], network: nn.Module, x: Tensor, expected: Tensor
) -> Backbone | None:
    """The network in this layout, if that is all of it and gives the same embedding."""
    try:
        backbone = layout(network).eval()
        embedding = backbone(x)[0]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError):
        return None  # a module is missing, or has another use
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

    Its children are its groups where calling them in turn gives the same output; else the whole
    network is one group.

    Args:
        model: its name in error messages.

    Raises:
        InvalidRecipe: it fails on images of this size, or its output has another shape.
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
        backbone = _try_layout(partial(_sequential_groups, x=x), network, x, expected)
    return backbone or Backbone({"network": network}, _MapToEmbedding()).eval()


def _sequential_groups(network: nn.Module, x: Tensor) -> Backbone:
    """One group per child, up to the last whose output is a map of several cells.

    The children above are the pooling. A child without weights joins the group below it.
    """
    children = dict(network.named_children())
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


class _MapToEmbedding(nn.Module):
    """Global average pooling of a feature map; an embedding is left as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = global_average_pooling()

    def forward(self, x: Tensor) -> Tensor:
        return self.mean(x) if x.ndim == 4 else x


@dataclass(frozen=True)
class Chain:
    """A network whose modules are called one after the other.

    Paths name submodules; several make a sequence. `block*` makes one group of each child of its
    module: block0, block1, and so on.

    Attributes:
        groups: name -> paths, from the input to the embedding.
        pool: paths from the feature map to the embedding; "" for a global average pooling.
        cells: paths that a cell of the map must pass, as they follow the pooling; "" for none.
        last: path of a norm that belongs to the last group; "" for none.
        auxiliaries: name of a group -> path of its auxiliary classifier.
    """

    groups: Mapping[str, str]
    pool: str = ""
    cells: str = ""
    last: str = ""
    auxiliaries: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, network: nn.Module) -> Backbone:
        """The backbone.

        Raises:
            AttributeError: the network lacks one of the modules.
        """
        groups: dict[str, nn.Module] = {}
        for name, paths in self.groups.items():
            module = _sequence(network, paths)
            if name.endswith("*"):
                groups |= {f"{name[:-1]}{n}": child for n, child in enumerate(module.children())}
            elif any(type(part) not in (nn.Identity, nn.Sequential) for part in module.modules()):
                groups[name] = module
        if self.last:
            name = list(groups)[-1]
            groups[name] = nn.Sequential(groups[name], network.get_submodule(self.last))
        return Backbone(
            groups,
            _sequence(network, self.pool) if self.pool else global_average_pooling(),
            _sequence(network, self.cells) if self.cells else None,
            {
                name: _auxiliary_branch(network.get_submodule(path))
                for name, path in self.auxiliaries.items()
                if getattr(network, path) is not None
            },
        )


def _sequence(network: nn.Module, paths: str) -> nn.Module:
    modules = [network.get_submodule(path) for path in paths.split()]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _auxiliary_branch(network: nn.Module) -> AuxiliaryBranch:
    """torchvision's auxiliary classifier of GoogLeNet without its last layer."""
    own: Any = network
    layers = (nn.AdaptiveAvgPool2d(4), own.conv, nn.Flatten(), own.fc1, nn.ReLU(), own.dropout)
    return AuxiliaryBranch(nn.Sequential(*layers), own.fc1.out_features)


def _vgg(network: nn.Module) -> Backbone:
    """A group ends with each pooling; the dense layers are one more."""
    groups: dict[str, nn.Module] = {}
    block: list[nn.Module] = []
    for layer in network.get_submodule("features").children():
        block.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            groups[f"block{len(groups) + 1}"] = nn.Sequential(*block)
            block = []
    groups["dense"] = network.get_submodule("pre_logits")
    return Backbone(groups, network.get_submodule("head.global_pool"))


class _Tokens(nn.Module):
    """From an image to the tokens (N, T, D) of a vision transformer.

    It owns the patch embedding, and the parameters of the network itself: position embedding and
    class token.
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
    """The tokens, and four groups of as many blocks; the last norm belongs to the last of them."""
    blocks = list(network.get_submodule("blocks").children())
    groups: dict[str, nn.Module] = {"tokens": _Tokens(network)}
    bounds = [len(blocks) * n // TRANSFORMER_GROUPS for n in range(TRANSFORMER_GROUPS + 1)]
    for number, (first, last) in enumerate(pairwise(bounds)):
        top = [network.get_submodule("norm")] if last == len(blocks) else []
        groups[f"blocks{number}"] = nn.Sequential(*blocks[first:last], *top)
    pool = _TimmPool(network)
    pool.norm = network.get_submodule("fc_norm")
    return Backbone(groups, pool)


class _TimmFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.network
        return cast(Tensor, network.forward_features(x))


class _TimmPool(nn.Module):
    """timm's `forward_head`; it shares the network and owns no weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its weights are not registered twice

    def forward(self, features: Tensor) -> Tensor:
        network: Any = self._network[0]
        return cast(Tensor, network.forward_head(features, pre_logits=True))


LAYOUTS: tuple[Callable[[nn.Module], Backbone], ...] = (
    # EfficientNet, MobileNetV1 (whose top is empty) and V2
    Chain({"stem": "conv_stem bn1", "block*": "blocks", "top": "conv_head bn2"}, "global_pool"),
    # MobileNetV3
    Chain({"stem": "conv_stem bn1", "block*": "blocks"},
          "global_pool conv_head norm_head act2 flatten", cells="conv_head norm_head act2"),
    # ResNet
    Chain({"stem": "conv1 bn1 act1 maxpool", "layer1": "layer1", "layer2": "layer2",
           "layer3": "layer3", "layer4": "layer4"}, "global_pool"),
    # ConvNeXt
    Chain({"stem": "stem", "stage*": "stages"},
          "head.global_pool head.norm head.flatten", cells="head.norm"),
    # ResNetV2
    Chain({"stem": "stem", "stage*": "stages"}, "head.global_pool head.flatten", last="norm"),
    # DenseNet
    Chain({"stem": "features.conv0 features.norm0 features.pool0",
           "block1": "features.denseblock1 features.transition1",
           "block2": "features.denseblock2 features.transition2",
           "block3": "features.denseblock3 features.transition3",
           "block4": "features.denseblock4 features.norm5"}, "global_pool"),
    # Inception v3
    Chain({"stem": "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Pool1 Conv2d_3b_1x1 Conv2d_4a_3x3 "
                   "Pool2",
           "mixed5": "Mixed_5b Mixed_5c Mixed_5d",
           "mixed6": "Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e",
           "mixed7": "Mixed_7a Mixed_7b Mixed_7c"}, "global_pool"),
    # torchvision's GoogLeNet: groups end at its auxiliaries (Szegedy et al. 2015, figure 3)
    Chain({"stem": "conv1 maxpool1 conv2 conv3 maxpool2",
           "inception3": "inception3a inception3b maxpool3",
           "inception4a": "inception4a",
           "inception4d": "inception4b inception4c inception4d",
           "inception5": "inception4e maxpool4 inception5a inception5b"},
          auxiliaries={"inception4a": "aux1", "inception4d": "aux2"}),
    # torchvision's MobileNetV2 of any width: the groups of timm's
    Chain({"stem": "features.0", "block0": "features.1", "block1": "features.2 features.3",
           "block2": "features.4 features.5 features.6",
           "block3": "features.7 features.8 features.9 features.10",
           "block4": "features.11 features.12 features.13",
           "block5": "features.14 features.15 features.16",
           "block6": "features.17", "top": "features.18"}),
    _vgg,
    _vision_transformer,
)  # fmt: skip
