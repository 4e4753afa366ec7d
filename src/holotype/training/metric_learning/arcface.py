"""ArcFace: cross-entropy of cosines, with an angle added to that of the own class.

Shape suffixes: N images, C classes.
"""

import math

import torch
from torch import Tensor


def arcface_logits(cosines_NC: Tensor, targets_N: Tensor, *, margin: float, scale: float) -> Tensor:
    """Logits (N, C): scale · cos θ, and scale · cos(θ + margin) at the own class.

    Beyond θ = π - margin, where the cosine would rise again, it goes on as a straight step down,
    cos θ - margin · sin(margin), so that a larger angle never has a lower loss.

    Args:
        cosines_NC: between embeddings and the direction of every class, in [-1, 1].
        targets_N: int64 class numbers.
        margin: an angle in radians.
        scale: of the logits, the inverse of a temperature.

    Source:
        Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", eq. 3.

    Example:
        >>> import torch
        >>> cosines, own = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
        >>> logits = arcface_logits(cosines, own, margin=0.5, scale=2)
        >>> [round(one, 3) for one in logits[0].tolist()]
        [1.755, 0.0]
    """
    own_N = cosines_NC.gather(1, targets_N[:, None]).squeeze(1)
    angle_N = torch.acos(own_N.clamp(-1, 1))
    with_margin_N = torch.where(
        angle_N <= math.pi - margin,
        torch.cos(angle_N + margin),
        torch.cos(angle_N) - margin * math.sin(margin),
    )
    own_class_NC = torch.zeros_like(cosines_NC).scatter(1, targets_N[:, None], 1.0)
    return scale * (cosines_NC + own_class_NC * (with_margin_N - own_N)[:, None])


def arcface_losses(cosines_NC: Tensor, targets_N: Tensor, *, margin: float, scale: float) -> Tensor:
    """The cross-entropy (N) of `arcface_logits`."""
    logits_NC = arcface_logits(cosines_NC, targets_N, margin=margin, scale=scale)
    return torch.nn.functional.cross_entropy(logits_NC, targets_N, reduction="none")
