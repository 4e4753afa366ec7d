"""Backbone + head: groups of layers from the bottom to the top, and the cuts between them.

A *cut* is a number of groups: cut k is what group k-1 hands to group k. Cut 0 is the input, the
last cut is the pooled embedding. What lies below a cut can be computed once and kept.

Shape suffixes: N pictures, D embedding, C classes, H and W cells of the feature map.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from holotype.errors import InvalidRecipe


class Backbone(nn.Module):
    """A network without its classifier, as a sequence of named groups.

    Args:
        groups: name -> module, in the order of the forward pass; the last hands on a feature map.
        pool: feature map -> embedding (N, D).
        map_cells: feature map -> what the head may be run on cell by cell (N, D, H, W); identity
            where the embedding is the plain mean of the cells.
    """

    def __init__(
        self, groups: dict[str, nn.Module], pool: nn.Module, map_cells: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.groups = nn.ModuleDict(groups)
        self.pool = pool
        self.map_cells = map_cells or nn.Identity()

    @property
    def group_names(self) -> list[str]:
        return list(self.groups)

    def run_groups(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Cut `start` -> cut `stop`; to the feature map where no stop is given."""
        for group in list(self.groups.values())[start:stop]:
            x = group(x)
        return x

    def forward(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """The embedding (N, D) and the cells (N, D, H, W) of an activation at cut `start`."""
        features = self.run_groups(x, start)
        return self.pool(features), self.map_cells(features)


class Below(nn.Module):
    """The part of a backbone below a cut; the whole of it, pooled, where no cut is given."""

    def __init__(self, backbone: Backbone, cut: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        if self.cut is not None:
            return self.backbone.run_groups(x, 0, self.cut)
        embedding, _ = self.backbone(x)
        return cast(Tensor, embedding)


class Classifier(nn.Module):
    """A backbone and a linear head on its embedding."""

    def __init__(self, backbone: Backbone, embedding_size: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(embedding_size, num_classes)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Logits (N, C) of an activation at cut `start`."""
        embedding, _ = self.backbone(x, start)
        return cast(Tensor, self.head(embedding))


def split_into_groups(network: nn.Module, image_size: int) -> Backbone:
    """A timm network without classifier as a backbone of groups; the modules are shared.

    A layout is taken where the network has its modules and gives the same numbers through it;
    else the whole network is one group. The backbone is left in evaluation mode.

    Raises:
        InvalidRecipe: the network refuses pictures of this size.
    """
    network.eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, image_size, image_size, generator=generator)
    with torch.no_grad():
        expected = _embedding(network, x)
        for modules, layout in LAYOUTS:
            if modules <= {name for name, _ in network.named_children()}:
                backbone = layout(network).eval()
                if torch.equal(backbone(x)[0], expected):
                    return backbone
    return _whole(network).eval()


def _embedding(network: nn.Module, x: Tensor) -> Tensor:
    try:
        return cast(Tensor, network(x))
    except (RuntimeError, AssertionError) as error:
        raise InvalidRecipe(
            f"image_size {x.shape[-1]} is refused by this network "
            f"({str(error).splitlines()[0]}); choose its native size (`holotype models`)."
        ) from None


def _efficientnet(network: nn.Module) -> Backbone:
    parts = dict(network.named_children())
    groups: dict[str, nn.Module] = {"stem": nn.Sequential(parts["conv_stem"], parts["bn1"])}
    for number, block in enumerate(cast(nn.Sequential, parts["blocks"])):
        groups[f"block{number}"] = block
    groups["top"] = nn.Sequential(parts["conv_head"], parts["bn2"])
    return Backbone(groups, parts["global_pool"])


def _resnet(network: nn.Module) -> Backbone:
    parts = dict(network.named_children())
    stem = nn.Sequential(parts["conv1"], parts["bn1"], parts["act1"], parts["maxpool"])
    layers = {name: parts[name] for name in ("layer1", "layer2", "layer3", "layer4")}
    return Backbone({"stem": stem, **layers}, parts["global_pool"])


def _convnext(network: nn.Module) -> Backbone:
    parts = dict(network.named_children())
    head = dict(parts["head"].named_children())
    groups: dict[str, nn.Module] = {"stem": parts["stem"]}
    for number, stage in enumerate(cast(nn.Sequential, parts["stages"])):
        groups[f"stage{number}"] = stage
    pool = nn.Sequential(head["global_pool"], head["norm"], head["flatten"])
    # The norm follows the pooling, so that a cell must pass it too before the head may see it.
    return Backbone(groups, pool, map_cells=head["norm"])


class _TimmFeatures(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Callable[[Tensor], Tensor] = self.network.forward_features  # type: ignore[assignment]
        return features(x)


class _TimmPool(nn.Module):
    """timm's own way from features to embedding; it shares the network and owns no weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = [network]  # in a list, so that its weights are not registered twice

    def forward(self, features: Tensor) -> Tensor:
        head = self._network[0].forward_head
        return cast(Tensor, head(features, pre_logits=True))  # type: ignore[operator]


def _whole(network: nn.Module) -> Backbone:
    return Backbone({"network": _TimmFeatures(network)}, _TimmPool(network))


LAYOUTS: tuple[tuple[set[str], Callable[[nn.Module], Backbone]], ...] = (
    ({"conv_stem", "bn1", "blocks", "conv_head", "bn2", "global_pool"}, _efficientnet),
    ({"conv1", "bn1", "act1", "maxpool", "layer4", "global_pool"}, _resnet),
    ({"stem", "stages", "norm_pre", "head"}, _convnext),
)


def hash_of_weights(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of every parameter and buffer."""
    import hashlib

    h = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        h.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
    return h.hexdigest()


def estimate_batch_norm(module: nn.Module, batches: list[Tensor]) -> None:
    """Set batch-norm statistics from a few batches: random weights mean nothing before that."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
    module.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    module.eval()
