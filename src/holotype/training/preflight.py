"""Refuse what a recipe cannot do with its network on this device, before a stage trains."""

from typing import TYPE_CHECKING

from holotype.architectures.pretrained_weights import WeightsSource
from holotype.errors import InvalidRecipe
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import ForestStage, GradientStage, SvmStage
from holotype.training.heads.svm_forest import require_skl2onnx
from holotype.training.process_group import process_share

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import Backbone


def check_stages(recipe: Recipe, device: str) -> None:
    """Check every stage.

    The network is built, with random weights, only where its layers are to be looked at.

    Args:
        device: `cpu`, `cuda` or `mps`.

    Raises:
        InvalidRecipe: fp16 without an NVIDIA GPU, groups or layers that the network lacks, rates
            that decay within one group, or, with several processes, an embedding or small batches.
        MissingExtra: skl2onnx is not installed, and a stage needs it.
    """
    _check_class_weights(recipe)
    backbone: Backbone | None = None
    for stage in recipe.stages:
        if isinstance(stage, SvmStage | ForestStage):
            require_skl2onnx(stage.method)
        elif isinstance(stage, GradientStage):
            _check_precision(stage, device)
            _check_processes(stage, process_share().size)
            if stage.trainable not in (0, "all") or stage.layer_decay not in (None, 1.0):
                backbone = backbone or _untrained_backbone(recipe)
                _check_layers(stage, backbone)


def _check_precision(stage: GradientStage, device: str) -> None:
    if stage.precision == "fp16" and device != "cuda":
        raise InvalidRecipe(
            f"stage {stage.name!r}: precision: fp16 needs an NVIDIA GPU, got the device "
            f"{device!r}, where gradients underflow and nothing gets faster. Take bf16 or fp32."
        )


def _check_class_weights(recipe: Recipe) -> None:
    """Not in the recipe itself: runs of earlier versions have such recipes."""
    embeds = recipe.head is not None and recipe.head.embedding is not None
    has_arcface = any(
        isinstance(stage, GradientStage) and stage.loss == "arcface" for stage in recipe.stages
    )
    if embeds and recipe.class_weights != "none" and not has_arcface:
        raise InvalidRecipe(
            "recipe: class_weights does nothing to whitening, whose classes are directions of "
            "length 1, nor to triplets; leave it out, or take the loss arcface."
        )


def _check_processes(stage: GradientStage, processes: int) -> None:
    if stage.learns_embedding and processes > 1:
        raise InvalidRecipe(
            f"stage {stage.name!r}: {stage.loss} compares all images of a batch, so one process "
            f"trains it, and there are {processes}; start it without torchrun."
        )
    if processes > 1 and stage.batch_size // 2 < processes:  # batches have at least half their size
        raise InvalidRecipe(
            f"stage {stage.name!r}: batches of {stage.batch_size} cannot be dealt out to "
            f"{processes} processes; take batches of at least {2 * processes}, or fewer processes."
        )


def _check_layers(stage: GradientStage, backbone: "Backbone") -> None:
    from holotype.training.finetuning.layer_selection import select_for_stage

    try:
        select_for_stage(backbone, stage)
    except InvalidRecipe as error:
        raise InvalidRecipe(f"stage {stage.name!r}: {error}") from None


def _untrained_backbone(recipe: Recipe) -> "Backbone":
    from holotype.architectures.build_backbone import build_backbone

    return build_backbone(
        recipe.model, WeightsSource("none", None, "none"), recipe.image_size,
        seed=recipe.seed, options=recipe.model_options,
    )  # fmt: skip
