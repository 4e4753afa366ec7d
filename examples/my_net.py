"""A network of your own: `holotype train photos --model examples/my_net.py:build`.

The function returns a `torch.nn.Module` that turns images (N, 3, H, W) into a feature map
(N, D, h, w) or an embedding (N, D). Holotype puts the head on it, trains it from nothing, exports
it, and proves that what ships says what was trained.

Written as a chain of children, each child with weights is a group that a recipe can freeze
(`holotype models examples/my_net.py:build --groups`). Arguments of the function are the recipe's
`model_options`: `--set model_options.width=32`.
"""

from torch import nn


def build(width: int = 16) -> nn.Module:
    """Three blocks; the last map has 4 * width channels."""
    return nn.Sequential(
        block(3, width),
        block(width, 2 * width),
        block(2 * width, 4 * width),
    )


def block(below: int, width: int) -> nn.Module:
    """A convolution of a step of two pixels, batch norm and a rectifier."""
    return nn.Sequential(
        nn.Conv2d(below, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
