"""The catalogue of architectures: look-up by name, and checks of image size and options.

It is data: importing it imports neither torch nor timm, and executes no user's file.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from holotype.architectures.architecture import (
    HALF,
    Architecture,
    InputSpec,
    Published,
)
from holotype.architectures.catalog_rows import ARCHITECTURES, descriptor_architecture
from holotype.bundle.building.hog_lbp_graph import canonical_name, parse_descriptors
from holotype.errors import InvalidRecipe, UnknownModel, did_you_mean
from holotype.files import sha256_of

TIMM_PREFIX = "timm:"
CUSTOM_IMAGE_SIZE = 64
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

CATALOG: dict[str, Architecture] = {row.name: row for row in ARCHITECTURES}

DEFAULT_MODEL = "efficientnet_lite0"


def architecture(name: str) -> Architecture:
    """The row of a name; also of `timm:NAME` for other timm networks, and of `FILE.py:FUNCTION`.

    Raises:
        UnknownModel: neither the catalogue nor timm has it.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name.startswith(TIMM_PREFIX):
        return _from_timm(name)
    if is_custom_model(name):
        return _custom_architecture(name)
    if parse_descriptors(name):
        return descriptor_architecture(canonical_name(name))
    raise UnknownModel(
        f"no model called {name!r}{did_you_mean(name, CATALOG)} "
        "`holotype models` lists them all; any other timm network is written timm:NAME, "
        "and a network of your own FILE.py:FUNCTION."
    )


def is_custom_model(name: str) -> bool:
    """Whether a model is a function in a user's Python file, such as `my_net.py:build`."""
    file, colon, function = name.rpartition(":")
    return bool(colon) and file.endswith(".py") and function.isidentifier()


def custom_model_file(name: str) -> Path:
    """The file of a user's network; it is not executed.

    Raises:
        UnknownModel: there is no such file.
    """
    file = Path(os.path.expanduser(name.rpartition(":")[0]))
    if not file.is_file():
        raise UnknownModel(
            f"no file at {str(file)!r}; --model FILE.py:FUNCTION names a function in a Python "
            "file that returns a torch.nn.Module."
        )
    return file


def code_identity(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> str:
    """The code and options of a network, as part of the key of its cached graphs.

    Networks of equal weights may compute different outputs. For a user's file this has its hash,
    for other networks the versions of the packages that define them.
    """
    said = json.dumps(dict(options), sort_keys=True, default=str)
    if is_custom_model(name):
        return f"{sha256_of(custom_model_file(name))} {said}"
    versions = [f"{one} {version(one)}" for one in ("holotype", "torchvision")]
    return f"{' '.join(versions)} {said}"


def require_size(name: str, image_size: int) -> None:
    """Check an image size before the network is built.

    Raises:
        InvalidRecipe: the network does not take it; the message names the nearest that it does.
    """
    row = architecture(name)
    smallest, step = row.inputs.minimum_size, row.inputs.size_multiple
    if image_size >= smallest and image_size % step == 0:
        return
    nearest = max(smallest, math.floor(image_size / step + 0.5) * step)
    multiples = f" and multiples of {step}" if step > 1 else ""
    raise InvalidRecipe(
        f"image_size {image_size} is refused by {row.name}: it takes {smallest} pixels and more"
        f"{multiples}; the nearest is {nearest}, its native size {row.inputs.image_size}."
    )


def require_options(name: str, options: Mapping[str, Any]) -> None:
    """Check the options of an architecture; the function of a user's file checks its own.

    Raises:
        InvalidRecipe: an unknown option, or a value out of range.
    """
    row = architecture(name)
    if row.kind == "custom":
        return
    for key in options:
        if key not in row.options:
            known = f"It has: {', '.join(row.options)}." if row.options else "It has none."
            raise InvalidRecipe(
                f"model_options: {row.name} has no option {key!r}"
                f"{did_you_mean(key, row.options)} {known}"
            )
    alpha = options.get("alpha", 1.0)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0.1 <= alpha <= 4:
        raise InvalidRecipe(
            f"model_options: alpha {alpha!r}: expected the width as a number from 0.1 to 4."
        )


def with_options(row: Architecture, options: Mapping[str, Any]) -> Architecture:
    """The row with these options; another width has other weights."""
    alpha = float(options.get("alpha", 1.0))
    if alpha == 1.0:
        return row
    timm_name, hub = TIMM_WIDTHS.get(alpha, (None, None))
    published = replace(row.published, timm_name=timm_name, hub=hub)
    return replace(row, published=published, cost=None, embedding_size=None)


# MobileNetV2 in timm by width, with its repository where weights are published; other widths
# are built by torchvision.
TIMM_WIDTHS: dict[float, tuple[str, str | None]] = {
    0.35: ("mobilenetv2_035", None),
    0.5: ("mobilenetv2_050", "timm/mobilenetv2_050.lamb_in1k"),
    0.75: ("mobilenetv2_075", None),
    1.4: ("mobilenetv2_140", "timm/mobilenetv2_140.ra_in1k"),
}


def _custom_architecture(name: str) -> Architecture:
    file, _, function = name.rpartition(":")
    return Architecture(
        name=f"{Path(file).name}:{function}",
        family="yours",
        kind="custom",
        inputs=InputSpec(CUSTOM_IMAGE_SIZE, 8, HALF, HALF),
        cam="approximate",
        published=Published("yours"),
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
    config = timm.get_pretrained_cfg(timm_name) or timm.models.PretrainedCfg()
    return Architecture(
        name=name,
        family="timm",
        kind="pretrained",
        inputs=InputSpec(
            int(config.input_size[-1]),
            8,  # building the network checks more
            _rgb(config.mean),
            _rgb(config.std),
        ),
        cam="approximate",
        published=Published(config.license or "unknown", timm_name, config.hf_hub_id or None),
    )


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
