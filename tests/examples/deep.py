"""A network of many small layers, where a test counts layers from the top."""

from torch import nn

LAYERS = 44
WIDTH = 6


def build() -> nn.Module:
    """A convolution, and many of one pixel that begin as the identity, lest the image fades."""
    lower = [nn.Conv2d(3, WIDTH, 3, stride=2), *(_same() for _ in range(20))]
    upper = [_same() for _ in range(LAYERS - len(lower))]
    return nn.Sequential(nn.Sequential(*lower), nn.Sequential(*upper))


def _same() -> nn.Conv2d:
    layer = nn.Conv2d(WIDTH, WIDTH, 1)
    nn.init.dirac_(layer.weight)
    return layer
