"""CNN v2 in three styles: residual, densely connected, and a hybrid of both with attention.

All halve the image in the stem and after each stage, and end with a norm, a rectifier and the
mean over the cells.

Shape suffixes: N images, D channels, H and W cells.
"""

import torch
from torch import Tensor, nn

from holotype.architectures.networks.plain_cnns import global_average_pooling, kaiming_initialised
from holotype.architectures.torch_classifier import Backbone

WIDTHS = (32, 64, 128, 256)
BLOCKS_PER_STAGE = 2
GROWTH = 16
LAYERS_PER_BLOCK = 4
BOTTLENECK = 4  # a dense layer first narrows to this times the growth
HYBRID_LAYERS = 2
REDUCTION = 8  # of the channels inside the attention


def cnn_v2_residual() -> Backbone:
    """Pre-activation residual blocks: norm and rectifier first, identity shortcuts.

    Source:
        He et al. 2016, "Identity Mappings in Deep Residual Networks", figure 1(b).
    """
    groups: dict[str, nn.Module] = {"stem": _stem(WIDTHS[0])}
    in_channels = WIDTHS[0]
    for number, width in enumerate(WIDTHS, start=1):
        blocks = [
            PreActivationBlock(
                in_channels if n == 0 else width, width, 2 if n == 0 and number > 1 else 1
            )
            for n in range(BLOCKS_PER_STAGE)
        ]
        groups[f"stage{number}"] = nn.Sequential(*blocks)
        in_channels = width
    return _with_final_norm(groups, in_channels)


def cnn_v2_dense() -> Backbone:
    """Every layer of a block sees the maps of all before it.

    Source:
        Huang et al. 2017, "Densely Connected Convolutional Networks": DenseNet-BC with growth 16.
    """
    groups: dict[str, nn.Module] = {"stem": _stem(2 * GROWTH)}
    channels = 2 * GROWTH
    for number in range(1, len(WIDTHS) + 1):
        layers: list[nn.Module] = []
        for _ in range(LAYERS_PER_BLOCK):
            layers.append(DenseLayer(channels))
            channels += GROWTH
        if number < len(WIDTHS):
            layers.append(_transition(channels, channels // 2))
            channels //= 2
        groups[f"block{number}"] = nn.Sequential(*layers)
    return _with_final_norm(groups, channels)


def cnn_v2_hybrid() -> Backbone:
    """Dense connections inside a block, a shortcut around it, attention before they meet.

    The convolutions are depthwise-separable (Howard et al. 2017), the attention is CBAM.
    """
    groups: dict[str, nn.Module] = {"stem": _stem(WIDTHS[0])}
    in_channels = WIDTHS[0]
    for number, width in enumerate(WIDTHS, start=1):
        layers: list[nn.Module] = []
        if number > 1:
            layers.append(_transition(in_channels, width))
        layers += [HybridBlock(width) for _ in range(BLOCKS_PER_STAGE)]
        groups[f"stage{number}"] = nn.Sequential(*layers)
        in_channels = width
    return _with_final_norm(groups, in_channels)


class PreActivationBlock(nn.Module):
    """x + f(x) with f = two times norm, rectifier, convolution.

    Where width or stride change, the shortcut is a convolution of what the first norm and
    rectifier give.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride > 1 or in_channels != width:
            self.shortcut = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(self.norm1(x))
        if self.shortcut is not None:
            x = self.shortcut(y)
        y = self.conv1(y)
        y = self.conv2(nn.functional.relu(self.norm2(y)))
        return torch.add(x, y)


class DenseLayer(nn.Module):
    """(N, D, H, W) -> (N, D + growth, H, W): the input and the layer's own maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = BOTTLENECK * GROWTH
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return torch.cat([x, maps], dim=1)


class SeparableConvolution(nn.Module):
    """Norm, rectifier, a depthwise convolution, then a pointwise one."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(nn.functional.relu(self.norm(x))))
        return y


class ChannelSpatialAttention(nn.Module):
    """Attention over channels, then over places.

    Source:
        Woo et al. 2018, "CBAM: Convolutional Block Attention Module", equations 2 and 3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // REDUCTION
        self.channels = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1)
        )
        self.places = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channels(mean) + self.channels(largest))
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.places(seen))


class HybridBlock(nn.Module):
    """x + attention(mix of x and of the maps of densely connected separable convolutions)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        growth = channels // 2
        self.layers = nn.ModuleList(
            SeparableConvolution(channels + n * growth, growth) for n in range(HYBRID_LAYERS)
        )
        self.mix = nn.Conv2d(channels + HYBRID_LAYERS * growth, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = ChannelSpatialAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        maps = x
        for layer in self.layers:
            maps = torch.cat([maps, layer(maps)], dim=1)
        attended: Tensor = self.attention(self.norm(self.mix(maps)))
        return x + attended


def _stem(width: int) -> nn.Module:
    return nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)


def _transition(in_channels: int, width: int) -> nn.Module:
    """Norm, rectifier, a 1 × 1 convolution, and average pooling to half the size."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, width, 1, bias=False),
        nn.AvgPool2d(2),
    )


def _with_final_norm(groups: dict[str, nn.Module], channels: int) -> Backbone:
    last = list(groups)[-1]
    groups[last] = nn.Sequential(groups[last], nn.BatchNorm2d(channels), nn.ReLU())
    return kaiming_initialised(Backbone(groups, global_average_pooling()))
