"""A classifier above a cut as one module: what trains in it, and in which mode.

Shape suffixes: N images, C classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import cast

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from holotype.architectures.torch_classifier import (
    EmbeddingHead,
    TorchClassifier,
    layers_with_weights,
)
from holotype.training.finetuning.layer_selection import LayerSelection
from holotype.training.finetuning.optimisers import trained_auxiliary_groups
from holotype.training.finetuning.synchronised_batch_norm import synchronised_batch_norm
from holotype.training.process_group import WHOLE, Share


class TrainablePart(nn.Module):
    """A classifier above a cut; all but the selected layers and the heads is frozen.

    Only the head has dropout in training: the frozen activations were computed without.

    Args:
        selection: what trains.
        train_batch_norm: whether the batch norms among the selected layers use, and update, the
            statistics of batches; all others keep theirs.
        save_memory: compute the activations inside a group again in the backward pass instead of
            keeping them; the result is the same.
        embeds: give the embedding of the head instead of its logits.
        share: with several processes the statistics of a batch are those of all of them.
    """

    def __init__(
        self,
        classifier: TorchClassifier,
        selection: LayerSelection,
        *,
        train_batch_norm: bool = False,
        save_memory: bool = False,
        embeds: bool = False,
        share: Share = WHOLE,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self._cut = selection.cut
        self._embeds = embeds
        modules = dict(layers_with_weights(classifier.backbone))
        layers = [modules[name] for name in selection.layers]
        self._norms = [m for m in layers if train_batch_norm and isinstance(m, AnyBatchNorm)]
        self._taps = taps = trained_auxiliary_groups(classifier, selection)
        self._heads = [
            classifier.head,
            *(classifier.auxiliary_heads[name] for name in taps),
            *(classifier.backbone.auxiliaries[name] for name in taps),
        ]
        classifier.requires_grad_(False)
        for module in self._heads:
            module.requires_grad_(True)
        for layer in layers:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(True)
        if save_memory and selection.cut is not None:
            for group in list(classifier.backbone.groups.values())[selection.cut :]:
                group.forward = partial(_checkpointed_forward, group, group.forward)
        self._save_memory = save_memory
        if share.size > 1:
            for norm in self._all_norms():
                norm.forward = partial(synchronised_batch_norm, norm)  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (N, C), and in training those of the auxiliary classifiers; or embeddings."""
        if self._embeds:
            pooled = x if self._cut is None else self.classifier.backbone(x, self._cut)[0]
            return self.head.embed(pooled), []
        if self._cut is None:
            return self.classifier.head(x), []
        if self.training:
            logits, others = self.classifier.forward_with_auxiliaries(x, self._cut)
            return logits, [others[name] for name in self._taps]
        return self.classifier(x, self._cut), []

    def train(self, mode: bool = True) -> "TrainablePart":
        """Training mode for heads and batch norms that train; evaluation mode for all else."""
        super().train(False)
        self.training = mode
        for module in (*self._heads, *self._norms):
            module.train(mode)
        return self

    @property
    def head(self) -> EmbeddingHead:
        """The head that embeds."""
        return cast(EmbeddingHead, self.classifier.head)

    @property
    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def l2_penalty(self) -> Tensor:
        """The sum of squares of all weights that train, norms and biases excluded."""
        squares = [p.square().sum() for p in self.trainable_parameters if p.ndim > 1]
        return torch.stack(squares).sum()

    def trainable_state(self) -> dict[str, Tensor]:
        """Copies of all tensors that training changes, on the CPU, by name in the classifier."""
        names = self._trainable_names()
        state = self.classifier.state_dict()
        return {name: state[name].detach().cpu().clone() for name in names}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `trainable_state` gave."""
        own = self.classifier.state_dict()
        with torch.no_grad():
            for name, tensor in state.items():
                own[name].copy_(tensor)

    def _all_norms(self) -> list[AnyBatchNorm]:
        """The batch norms that train, those of the heads too."""
        of_heads = [
            module for head in self._heads for module in head.modules()
            if isinstance(module, AnyBatchNorm)
        ]  # fmt: skip
        return [*self._norms, *of_heads]

    def _trainable_names(self) -> list[str]:
        names = [name for name, p in self.classifier.named_parameters() if p.requires_grad]
        norms = set(self._all_norms())
        for name, module in self.classifier.named_modules():
            if module in norms:
                names += [f"{name}.{buffer}" for buffer, _ in module.named_buffers(recurse=False)]
        return names

    def release(self) -> None:
        """Return the classifier to evaluation mode and the CPU, with its own forward passes."""
        if self._save_memory:
            for group in self.classifier.backbone.groups.values():
                group.__dict__.pop("forward", None)
        for norm in self._all_norms():
            norm.__dict__.pop("forward", None)
        self.classifier.eval().to("cpu")


def _checkpointed_forward(
    group: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Activation checkpointing (Chen et al. 2016), where there is a backward pass."""
    if not torch.is_grad_enabled():
        return forward(x)
    recomputed: Tensor = torch.utils.checkpoint.checkpoint(
        forward, x, use_reentrant=False,
        context_fn=lambda: (nullcontext(), _batch_norm_frozen(group)),
    )  # fmt: skip
    return recomputed


@contextmanager
def _batch_norm_frozen(group: nn.Module) -> Iterator[None]:
    """Keep batch norm from counting a batch again when its activations are recomputed."""
    norms = [m for m in group.modules() if isinstance(m, AnyBatchNorm) and m.training]
    own = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
