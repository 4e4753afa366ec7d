"""Backbone and head: groups of layers from the input to the embedding, and the cuts between them.

A *cut* is a number of groups: cut k is the output of group k-1 and the input of group k; cut 0 is
the image. Everything below a cut can be computed once and cached.

Shape suffixes: N images, D embedding, E learnt embedding, C classes, H and W cells of the feature
map.
"""

import hashlib
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holotype.architectures.architecture import HeadSpec

AUXILIARY_LOSS_WEIGHT = 0.3  # beside the main loss, Szegedy et al. 2015, section 5

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class AuxiliaryBranch(nn.Module):
    """From the output of a group to an embedding of its own, in training only.

    Args:
        layers: activation -> embedding (N, `embedding_size`).
    """

    def __init__(self, layers: nn.Module, embedding_size: int) -> None:
        super().__init__()
        self.layers = layers
        self.embedding_size = embedding_size

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layers(x))


class Backbone(nn.Module):
    """A network without its classifier, as a sequence of named groups.

    Args:
        groups: name -> module, in the order of the forward pass; the last gives a feature map or
            tokens (N, T, D).
        pool: feature map -> embedding (N, D).
        map_cells: feature map -> (N, D, H, W), on whose cells the head can be run; identity where
            the embedding is the plain mean of the cells.
        auxiliaries: name of a group -> branch of an auxiliary classifier on its output.
    """

    def __init__(
        self,
        groups: Mapping[str, nn.Module],
        pool: nn.Module,
        map_cells: nn.Module | None = None,
        auxiliaries: Mapping[str, AuxiliaryBranch] | None = None,
    ) -> None:
        super().__init__()
        self.groups = nn.ModuleDict(dict(groups))
        self.pool = pool
        self.map_cells = map_cells or nn.Identity()
        self.auxiliaries = nn.ModuleDict(dict(auxiliaries or {}))

    @property
    def group_names(self) -> list[str]:
        return list(self.groups)

    def auxiliary_groups(self, start: int) -> list[str]:
        """The groups above cut `start` whose output has an auxiliary."""
        return [name for name in self.group_names[start:] if name in self.auxiliaries]

    def run_groups(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Cut `start` -> cut `stop`; to the feature map where no stop is given."""
        for group in list(self.groups.values())[start:stop]:
            x = group(x)
        return x

    def forward(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """The embedding (N, D) and the cells (N, D, H, W) of an activation at cut `start`."""
        features = self.run_groups(x, start)
        return self.pool(features), self.map_cells(features)

    def forward_with_auxiliaries(
        self, x: Tensor, start: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The embedding, and those of the auxiliaries above cut `start`, in one pass."""
        embeddings = {}
        for name, group in list(self.groups.items())[start:]:
            x = group(x)
            if name in self.auxiliaries:
                embeddings[name] = self.auxiliaries[name](x)
        return self.pool(x), embeddings


class BackboneBelowCut(nn.Module):
    """The part of a backbone below a cut; the embedding where the cut is None."""

    def __init__(self, backbone: Backbone, cut: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        if self.cut is not None:
            return self.backbone.run_groups(x, 0, self.cut)
        embedding, _ = self.backbone(x)
        return cast(Tensor, embedding)


class TorchClassifier(nn.Module):
    """A backbone and a head on its embedding.

    Args:
        head: how the head is built; linear unless said otherwise. Auxiliary heads are linear.
    """

    def __init__(
        self,
        backbone: Backbone,
        embedding_size: int,
        num_classes: int,
        head: HeadSpec = HeadSpec(),  # noqa: B008 - a frozen value
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = build_head(embedding_size, num_classes, head)
        self.auxiliary_heads = nn.ModuleDict(
            {
                name: nn.Linear(cast(AuxiliaryBranch, auxiliary).embedding_size, num_classes)
                for name, auxiliary in backbone.auxiliaries.items()
            }
        )

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Logits (N, C) of an activation at cut `start`."""
        embedding, _ = self.backbone(x, start)
        return cast(Tensor, self.head(embedding))

    def forward_with_auxiliaries(
        self, x: Tensor, start: int = 0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and those of every auxiliary above cut `start` by its group, in one pass.

        Each auxiliary adds `AUXILIARY_LOSS_WEIGHT` times its loss in training.
        """
        embedding, others = self.backbone.forward_with_auxiliaries(x, start)
        logits = {name: self.auxiliary_heads[name](e) for name, e in others.items()}
        return self.head(embedding), logits


class EmbeddingHead(nn.Module):
    """A head that embeds: a projection to the unit sphere, and a direction there for every class.

    normalise(x) -> dense layer -> normalise: the embedding that ships; its cosines are logits.

    Args:
        embedding_size: D.
        dimensions: E.
        num_classes: C.
        scale: logits are cosines times this.
    """

    def __init__(self, embedding_size: int, dimensions: int, num_classes: int, scale: float):
        super().__init__()
        self.projection = nn.Linear(embedding_size, dimensions)
        self.classes = nn.Linear(dimensions, num_classes, bias=False)
        self.scale = scale

    def embed(self, x: Tensor) -> Tensor:
        """The embedding (N, E), of length 1."""
        normalised = nn.functional.normalize(x.flatten(1), dim=1)
        return nn.functional.normalize(self.projection(normalised), dim=1)

    def cosines(self, embedding: Tensor) -> Tensor:
        """Of embeddings (N, E) and the direction of every class: (N, C)."""
        return embedding @ self.directions.T

    @property
    def directions(self) -> Tensor:
        """Of all classes (C, E), of length 1."""
        return nn.functional.normalize(self.classes.weight, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.scale * self.cosines(self.embed(x))

    def set_weights(
        self,
        weight_ED: NDArray[np.float32],
        bias_E: NDArray[np.float32],
        directions_CE: NDArray[np.float32],
    ) -> None:
        """Take over a projection, and directions of classes, which may have any length."""
        _set_weights(self.projection, weight_ED, bias_E)
        with torch.no_grad():
            self.classes.weight.copy_(torch.tensor(directions_CE))


def build_head(embedding_size: int, num_classes: int, spec: HeadSpec) -> nn.Module:
    """A linear layer, or dense layers, with dropout before each; or a head that embeds."""
    if spec.embedding is not None:
        return EmbeddingHead(embedding_size, spec.embedding, num_classes, spec.scale)
    each = spec.dropout
    chances = each if isinstance(each, tuple) else (each,) * (len(spec.hidden) + 1)
    layers: list[nn.Module] = []
    size = embedding_size
    for width, chance in zip(spec.hidden, chances[:-1], strict=True):
        layers += [*_dropout(chance), nn.Linear(size, width), ACTIVATIONS[spec.activation]()]
        size = width
    layers += [*_dropout(chances[-1]), nn.Linear(size, num_classes)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _dropout(chance: float) -> list[nn.Module]:
    return [nn.Dropout(chance)] if chance > 0 else []


def last_linear(head: nn.Module) -> nn.Linear:
    """The last layer of a head, whose output is the logits, or the cosines behind them."""
    if isinstance(head, EmbeddingHead):
        return head.classes
    return cast(nn.Linear, head[-1] if isinstance(head, nn.Sequential) else head)


def set_linear_head(
    head: nn.Module, weight_CD: NDArray[np.float32], bias_C: NDArray[np.float32]
) -> None:
    """Give a linear head, whatever its dropout, its weights."""
    _set_weights(last_linear(head), weight_CD, bias_C)


def _set_weights(layer: nn.Linear, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def layers_with_weights(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules with weights of their own, by dotted names, from the input to the embedding.

    In a backbone names begin with that of the group: `layer4.1.conv2`. Auxiliaries are left out.
    """
    named = (
        module.groups.named_modules() if isinstance(module, Backbone) else module.named_modules()
    )
    layers = [(name, layer) for name, layer in named if _has_own_weights(layer)]
    if isinstance(module, Backbone):
        # A norm after the pooling (ConvNeXt), a last convolution (MobileNetV3).
        above = [(f"pool.{name}" if name else "pool", m) for name, m in module.pool.named_modules()]
        layers += [(name, layer) for name, layer in above if _has_own_weights(layer)]
    return layers


def _has_own_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def number_of_parameters(module: nn.Module) -> int:
    """Weights and biases, each counted once; of a backbone without its auxiliaries."""
    aside = {id(p) for p in getattr(module, "auxiliaries", nn.Module()).parameters()}
    return sum(p.numel() for p in module.parameters() if id(p) not in aside)


def hash_weights(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of every parameter and buffer."""
    h = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        h.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
    return h.hexdigest()
