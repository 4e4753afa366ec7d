"""Plain stacks of convolutions: a baseline, CNN v1 with and without shortcuts, VGG-19.

Shape suffixes: N images, D channels, H and W cells.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from holotype.architectures.torch_classifier import Backbone

VGG19_WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions


def cnn_baseline() -> Backbone:
    """Three blocks of 32, 64 and 128 channels."""
    return _blocks((32, 64, 128), shortcut=False)


def cnn_v1() -> Backbone:
    """Four blocks of 32, 64, 128 and 256 channels."""
    return _blocks((32, 64, 128, 256), shortcut=False)


def cnn_v1_residual() -> Backbone:
    """CNN v1, each block followed by a convolution with a shortcut around it."""
    return _blocks((32, 64, 128, 256), shortcut=True)


def vgg19_scratch() -> Backbone:
    """Configuration E of Simonyan & Zisserman 2015, without its dense layers.

    The embedding is the flattened last map, so that its length depends on the image size.
    """
    groups: dict[str, nn.Module] = {}
    in_channels = 3
    for number, (width, convolutions) in enumerate(VGG19_WIDTHS, start=1):
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU()]
            in_channels = width
        groups[f"block{number}"] = nn.Sequential(*layers, nn.MaxPool2d(2))
    return kaiming_initialised(Backbone(groups, nn.Flatten()))


class ResidualConvolution(nn.Module):
    """relu(x + f(x)) with f = convolution and batch norm; He et al. 2015, figure 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.norm(self.conv(x)))


def _blocks(widths: Sequence[int], *, shortcut: bool) -> Backbone:
    groups: dict[str, nn.Module] = {}
    in_channels = 3
    for number, width in enumerate(widths, start=1):
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        groups[f"block{number}"] = nn.Sequential(
            *layers, *([ResidualConvolution(width)] if shortcut else [])
        )
        in_channels = width
    return kaiming_initialised(Backbone(groups, global_average_pooling()))


def global_average_pooling() -> nn.Module:
    """Global average pooling: feature map (N, D, H, W) -> embedding (N, D)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def kaiming_initialised(backbone: Backbone) -> Backbone:
    """Convolutions drawn as for rectifiers (He et al. 2015, equation 10), biases at 0."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return backbone
