"""Weights of heads in torch: those of a fitted head, and class directions as mean embeddings."""

import torch
from torch import nn

from holotype.architectures.torch_classifier import (
    EmbeddingHead,
    TorchClassifier,
    set_linear_head,
)
from holotype.training.data.loader import LabelledViews, validation_batches
from holotype.training.heads.logistic_regression import LinearHead
from holotype.training.heads.whitening import EmbeddingProjection

_BATCH_SIZE = 64


def take_over(head: nn.Module, fitted: LinearHead | EmbeddingProjection | None) -> None:
    """Start a head from the one that was fitted, if any."""
    if isinstance(fitted, LinearHead):
        set_linear_head(head, fitted.weight_CD, fitted.bias_C)
    elif isinstance(fitted, EmbeddingProjection):
        assert isinstance(head, EmbeddingHead)
        head.set_weights(fitted.weight_ED, fitted.bias_E, fitted.directions_CE)


def set_class_directions(
    classifier: TorchClassifier, images: LabelledViews, cut: int | None
) -> None:
    """Give each class the direction of its mean embedding: triplets teach none.

    Args:
        classifier: whose head embeds; in evaluation mode.
        images: of training, at the cut.
        cut: None for embeddings of the backbone.
    """
    head = classifier.head
    assert isinstance(head, EmbeddingHead)
    sums = torch.zeros_like(head.classes.weight)
    with torch.no_grad():
        for batch in validation_batches(images, _BATCH_SIZE):
            x = batch.inputs.float()
            pooled = x if cut is None else classifier.backbone(x, cut)[0]
            sums.index_add_(0, batch.targets, head.embed(pooled) * batch.weights[:, None])
        head.classes.weight.copy_(nn.functional.normalize(sums, dim=1))
