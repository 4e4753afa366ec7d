"""How well the images of validation find their own class among all images that are known.

It needs no class of validation to be one of training, so it can judge individuals never seen.

Shape suffixes: Q queries, G images of the gallery, E dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class EmbeddedViews:
    """Images to be found, or to search with.

    Attributes:
        embeddings_GE: of length 1.
        targets_G: int64 class numbers; classes that were never trained have numbers too.
        encounters_G: int64; images of one encounter are not compared. -1 for none.
        weights_G: of each as a query.
    """

    embeddings_GE: Tensor
    targets_G: Tensor
    encounters_G: Tensor
    weights_G: Tensor


@dataclass(frozen=True)
class RetrievalScores:
    """Of all queries with an image to be found.

    Attributes:
        log_loss: -log of the share of an image's own class in the softmax over the gallery (NCA).
        rank_1: the weighted share whose most similar image is of the own class.
    """

    log_loss: float
    rank_1: float


def retrieval_scores(
    queries: EmbeddedViews, others: EmbeddedViews, *, scale: float
) -> RetrievalScores | None:
    """Every query against all other queries and the other images; None where nothing can be found.

    Args:
        queries: the images of validation.
        others: of training, which are to be found too, or to be told apart.
        scale: of the cosines in the softmax.

    Source:
        Goldberger et al. 2004, "Neighbourhood Components Analysis" (the loss, here of cosines).
    """
    gallery_GE = torch.cat([queries.embeddings_GE, others.embeddings_GE])
    targets_G = torch.cat([queries.targets_G, others.targets_G])
    encounters_G = torch.cat([queries.encounters_G, others.encounters_G])
    loss = found = weight = 0.0
    for start in range(0, len(queries.targets_G), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        cosine_QG = (queries.embeddings_GE[rows] @ gallery_GE.T).float()
        encounter_Q = queries.encounters_G[rows, None]
        excluded_QG = (encounter_Q == encounters_G) & (encounter_Q >= 0)
        own_Q = torch.arange(start, start + len(cosine_QG), device=cosine_QG.device)
        excluded_QG[torch.arange(len(own_Q), device=own_Q.device), own_Q] = True
        same_QG = (queries.targets_G[rows, None] == targets_G) & ~excluded_QG
        weights_Q = queries.weights_G[rows] * same_QG.any(dim=1)
        logits_QG = (scale * cosine_QG).masked_fill(excluded_QG, -torch.inf)
        all_Q = logits_QG.logsumexp(dim=1)
        own_class_Q = logits_QG.masked_fill(~same_QG, -torch.inf).logsumexp(dim=1)
        counted_Q = weights_Q > 0
        loss += float(((all_Q - own_class_Q) * weights_Q)[counted_Q].sum())
        nearest_Q = logits_QG.argmax(dim=1, keepdim=True)
        found += float((same_QG.gather(1, nearest_Q).squeeze(1) * weights_Q)[counted_Q].sum())
        weight += float(weights_Q.sum())
    return RetrievalScores(loss / weight, found / weight) if weight else None
