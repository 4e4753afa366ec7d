"""The loss of a batch of embeddings, as a stage of a recipe names it."""

import torch
from torch import Tensor

from holotype.architectures.torch_classifier import EmbeddingHead
from holotype.training.config.stage_config import GradientStage
from holotype.training.metric_learning.arcface import arcface_losses
from holotype.training.metric_learning.triplet import semi_hard_triplet_loss


def embedding_loss(
    head: EmbeddingHead,
    stage: GradientStage,
    embeddings: Tensor,
    labelled: tuple[Tensor, Tensor],
    classes: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss summed over images: their weighted sum, or of triplets the mean times that weight.

    Args:
        embeddings: float (N, E), of length 1.
        labelled: int64 class numbers (N), and weights (N), which triplets do not tell apart.
        classes: int64, ascending: those that train. Individuals that validate are no negatives.

    Returns:
        The loss; the weight of the images that are nearest to the direction of their class, and of
        all. Triplets teach no directions, and both are 0.
    """
    embeddings, (targets, weights) = embeddings.float(), labelled
    assert stage.margin is not None
    if stage.loss == "triplet":
        loss = semi_hard_triplet_loss(embeddings, targets, margin=stage.margin)
        return loss * weights.sum(), weights.new_zeros(()), weights.new_zeros(())
    cosines = head.cosines(embeddings)[:, classes]
    targets = torch.searchsorted(classes, targets)
    each = arcface_losses(cosines, targets, margin=stage.margin, scale=head.scale)
    correct = cosines.detach().argmax(dim=1) == targets
    return (each * weights).sum(), (correct * weights).sum(), weights.sum()
