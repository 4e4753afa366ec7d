"""Images and statistics for networks with random weights."""

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from holotype.architectures.torch_classifier import Backbone

STATISTICS = 32  # images a batch


def soft_images(count: int, size: int, seed: int = 0) -> Tensor:
    """Model inputs (count, 3, size, size): blurred colour noise.

    White noise looks the same everywhere, so that of any of it a deep network says the same.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 3, 3, generator=generator) * 1.5
    shape = (size, size)
    soft = torch.nn.functional.interpolate(coarse, shape, mode="bilinear", align_corners=True)
    return soft + 0.1 * torch.randn(count, 3, *shape, generator=generator)


def awake(backbone: Backbone, scale: float = 1.0, branches: float = 1.0) -> Backbone:
    """Draw what networks start at (almost) zero: the scales of norms and of residual branches.

    With them at zero a block hands on what it got, and a fault inside it would go unseen.

    Args:
        scale: their mean; they lie within half of it.
        branches: the same once more for those alone that start at (almost) zero.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if parameter.ndim == 1 and name.endswith(("weight", "gamma")):
                drawn = 0.5 + torch.rand(parameter.shape, generator=generator)
                starts_at_zero = float(parameter.abs().max()) < 0.01
                parameter.copy_(scale * (branches if starts_at_zero else 1.0) * drawn)
    return backbone


def with_statistics(backbone: Backbone, size: int) -> Backbone:
    """The backbone with batch-norm statistics of two batches."""
    batches = [soft_images(STATISTICS, size, 1), soft_images(STATISTICS, size, 2)]
    update_bn(batches, backbone)
    return backbone
