"""Build the backbone of a model in torch, with its weights."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import (
    NO_OPTIONS,
    architecture,
    custom_model_file,
    require_options,
    require_size,
    with_options,
)
from holotype.architectures.layer_groups import backbone_of_custom_model, split_into_groups
from holotype.architectures.networks import cnn_v2, plain_cnns
from holotype.architectures.pretrained_weights import (
    BACKBONE,
    WeightsSource,
    load_weights,
    read_stage_checkpoint,
    strip_prefix,
)
from holotype.architectures.torch_classifier import Backbone
from holotype.errors import InvalidRecipe, UnknownModel, WeightsMismatch, did_you_mean

NETWORKS: dict[str, Callable[[], Backbone]] = {
    "cnn_baseline": plain_cnns.cnn_baseline,
    "cnn_v1": plain_cnns.cnn_v1,
    "cnn_v1_residual": plain_cnns.cnn_v1_residual,
    "cnn_v2_residual": cnn_v2.cnn_v2_residual,
    "cnn_v2_dense": cnn_v2.cnn_v2_dense,
    "cnn_v2_hybrid": cnn_v2.cnn_v2_hybrid,
    "vgg19_scratch": plain_cnns.vgg19_scratch,
}


def build_backbone(
    model: str,
    weights: WeightsSource,
    image_size: int,
    *,
    seed: int,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> Backbone:
    """The backbone of a model, split into groups, in evaluation mode.

    Args:
        model: a name of the catalogue, `timm:NAME`, or `FILE.py:FUNCTION`, which is executed.
        weights: from `find_weights`; of kind `none` the weights are random.
        image_size: height and width of its input in pixels.
        seed: of random weights.
        options: the recipe's `model_options`.

    Raises:
        UnknownModel: no such model, or the user's file has no such function.
        InvalidRecipe: the size or an option is refused, or the user's function returns no network.
        WeightsMismatch: the weights are of another network.
    """
    row = architecture(model)
    require_size(model, image_size)
    require_options(model, options)
    if row.kind == "classical":
        raise InvalidRecipe(
            f"{row.name} is a descriptor and has no weights to train by gradient descent. "
            "Take `--recipe svm`, `forest` or `linear`."
        )
    checkpoint = read_stage_checkpoint(weights)
    if checkpoint is not None:
        nothing = WeightsSource("none", None, weights.licence)
        backbone = build_backbone(model, nothing, image_size, seed=seed, options=options)
        return _load_checkpoint(
            backbone, strip_prefix(checkpoint, f"{BACKBONE}."), model, str(weights.file)
        )
    torch.manual_seed(seed)
    if row.kind == "custom":
        own = _custom_network(model, options)
        load_weights(own, model, weights)
        return backbone_of_custom_model(own, image_size, model)
    if row.kind == "scratch":
        backbone = NETWORKS[row.name]()
        load_weights(backbone, model, weights)
        return backbone.eval()
    return _pretrained(model, weights, image_size, options)


def _load_checkpoint(
    backbone: Backbone, tensors: Mapping[str, Any], model: str, file: str
) -> Backbone:
    try:
        backbone.load_state_dict(tensors)
    except RuntimeError as error:
        difference = str(error).splitlines()[-1].strip()
        raise WeightsMismatch(
            f"{file!r} was left by a run of another network than {model} ({difference[:160]}); "
            "expected the same model, of the same image size if it is a transformer."
        ) from None
    return backbone.eval()


def _pretrained(
    model: str, weights: WeightsSource, image_size: int, options: Mapping[str, Any]
) -> Backbone:
    row = with_options(architecture(model), options)
    if row.published.timm_name is None:
        network = _from_torchvision(row, options)
    else:
        import timm

        network = timm.create_model(row.published.timm_name, num_classes=0)
    load_weights(network, model, weights, options)
    set_input_size(network, image_size)
    return split_into_groups(network, image_size)


def set_input_size(network: nn.Module, image_size: int) -> bool:
    """Resample the position embedding of a transformer to this image size.

    Returns:
        Whether there was anything to change.

    Raises:
        InvalidRecipe: the size is no multiple of its patches.
    """
    patches: Any = getattr(network, "patch_embed", None)
    native = getattr(patches, "img_size", None)
    if native is None or tuple(native) == (image_size, image_size):
        return False
    resample: Any = getattr(network, "set_input_size", None)
    if resample is None:
        return False  # running it refuses other sizes
    (step, _) = cast(tuple[int, int], patches.patch_size)
    if image_size < step or image_size % step:
        raise InvalidRecipe(
            f"image_size {image_size} is refused by this network: it cuts images into patches "
            f"of {step} pixels; choose a multiple of {step}, such as {native[0]}."
        )
    resample(img_size=(image_size, image_size))
    return True


def _from_torchvision(row: Architecture, options: Mapping[str, Any]) -> nn.Module:
    """What timm lacks: GoogLeNet, and MobileNetV2 of any width."""
    import torchvision.models

    if row.name == "googlenet":
        network = torchvision.models.googlenet(
            weights=None, aux_logits=True, init_weights=True, transform_input=False
        )
        network.fc = network.aux1.fc2 = network.aux2.fc2 = nn.Identity()
        # The backbone ends before this dropout.
        network.dropout = nn.Identity()
        return cast(nn.Module, network)
    network = torchvision.models.mobilenet_v2(width_mult=float(options["alpha"]))
    network.classifier = nn.Identity()
    return cast(nn.Module, network)


def _custom_network(model: str, options: Mapping[str, Any]) -> nn.Module:
    """Execute the file that the user named, and call its function."""
    file, name = custom_model_file(model), model.rpartition(":")[2]
    spec = importlib.util.spec_from_file_location(f"model_file_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidRecipe(f"{file}: {_describe_error(error, file)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UnknownModel(
            f"{file} has no function {name!r}{did_you_mean(name, functions)} "
            f"It has: {', '.join(functions) or 'none'}."
        )
    try:
        network = function(**options)
    except Exception as error:
        raise InvalidRecipe(f"{file}:{name}: {_describe_error(error, file)}") from error
    if not isinstance(network, nn.Module):
        raise InvalidRecipe(
            f"{file}:{name} returned {type(network).__name__}; expected a torch.nn.Module: "
            "images (N, 3, H, W) -> feature map (N, D, h, w) or embedding (N, D)."
        )
    return network


def _describe_error(error: Exception, file: Path) -> str:
    """The error and its line in the user's file."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"
