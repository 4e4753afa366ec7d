"""The triplet loss with semi-hard negatives.

Shape suffixes: N images, E dimensions of the embedding.
"""

import torch
from torch import Tensor


def semi_hard_triplet_loss(embeddings_NE: Tensor, targets_N: Tensor, *, margin: float) -> Tensor:
    """The mean loss of all semi-hard triplets of a batch; 0 where it has none.

    A triplet is an anchor, a positive of the same class and a negative of another. It is semi-hard
    where the negative is farther from the anchor than the positive, but by less than the margin:
    harder ones lead to collapsed embeddings early in training. Its loss is
    d(anchor, positive) - d(anchor, negative) + margin, d the squared Euclidean distance.

    Args:
        embeddings_NE: of length 1.
        targets_N: int64 class numbers.
        margin: in squared distances, which lie in [0, 4].

    Returns:
        A tensor (), in [0, margin].

    Source:
        Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering",
        eq. 3 and 4. All semi-hard negatives of a pair count, not one of them.
    """
    squared_NN = (embeddings_NE[:, None] - embeddings_NE[None]).square().sum(dim=2)
    same_NN = targets_N[:, None] == targets_N[None]
    others_NN = ~torch.eye(len(targets_N), dtype=torch.bool, device=targets_N.device)
    anchor_P, positive_P = torch.where(same_NN & others_NN)
    farther_PN = squared_NN[anchor_P] - squared_NN[anchor_P, positive_P][:, None]
    semi_hard_PN = ~same_NN[anchor_P] & (farther_PN > 0) & (farther_PN < margin)
    losses = margin - farther_PN[semi_hard_PN]
    return losses.mean() if len(losses) else embeddings_NE.sum() * 0.0
