"""Which recipe goes with which architecture, and what is impossible."""

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import (
    architecture,
    require_options,
    require_size,
)
from holotype.errors import InvalidRecipe
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import (
    ForestStage,
    GradientStage,
    LinearStage,
    SvmStage,
    WhiteningStage,
)

CLASSICAL = "classical"


def check_compatibility(recipe: Recipe) -> None:
    """Refuse what cannot work, or would have no effect, before any image is read.

    Raises:
        InvalidRecipe: with the reason and what to write instead.
    """
    row = architecture(recipe.model)
    require_size(recipe.model, recipe.image_size)
    require_options(recipe.model, recipe.model_options)
    _check_head(recipe)
    _check_embedding(recipe)
    _check_weights(recipe, row)
    _check_pruning(recipe)
    _check_teacher(recipe)
    if recipe.refit and recipe.watch_reference != "none":
        raise InvalidRecipe(
            f"recipe {recipe.name!r}: watch_reference keeps images that were not learnt from, and "
            "refit learns from those of validation; leave one out."
        )
    if row.kind == CLASSICAL:
        _check_classical_stages(recipe)


def _check_head(recipe: Recipe) -> None:
    first, head = recipe.stages[0], recipe.head
    if isinstance(first, SvmStage | ForestStage):
        if head is not None:
            raise InvalidRecipe(
                f"recipe: head: a stage of {first.method} is itself the head; leave head out."
            )
        return
    if isinstance(first, LinearStage) and head is not None and head.hidden:
        raise InvalidRecipe(
            "recipe: head: logistic_regression fits a linear head, and this one has hidden layers "
            f"{list(head.hidden)}. Say `head: {{hidden: []}}`, or train it by gradient_descent "
            "with trainable: 0."
        )
    if not recipe.gradient_stages and head is not None and head.drops_anything:
        raise InvalidRecipe(
            "recipe: head: dropout does nothing here: no stage trains by gradient_descent; leave "
            "it out."
        )


def _check_embedding(recipe: Recipe) -> None:
    """A head that embeds goes with the stages that teach it, and those with no other head."""
    embeds = recipe.head is not None and recipe.head.embedding is not None
    for stage in recipe.stages:
        teaches = isinstance(stage, WhiteningStage) or (
            isinstance(stage, GradientStage) and stage.learns_embedding
        )
        if embeds and not teaches:
            raise InvalidRecipe(
                f"stage {stage.name!r}: it learns classes, and head.embedding is learnt by "
                "whitening, or by the loss arcface or triplet. Leave head.embedding out, or change "
                "the stage."
            )
        if teaches and not embeds:
            raise InvalidRecipe(
                f"stage {stage.name!r} learns an embedding, and the head has none; say such as "
                "`head: {embedding: 128}`."
            )
    if embeds and recipe.teacher is not None:
        raise InvalidRecipe(
            f"recipe {recipe.name!r} learns an embedding, and a teacher gives probabilities of "
            "classes; leave the teacher out."
        )


def _check_weights(recipe: Recipe, row: Architecture) -> None:
    if row.kind == CLASSICAL or recipe.weights != "none":
        return
    if all(not isinstance(s, GradientStage) or s.trainable == 0 for s in recipe.stages):
        or_pretrained = ", or `--weights pretrained`" if row.kind == "pretrained" else ""
        raise InvalidRecipe(
            f"recipe {recipe.name!r} trains only the head, and weights: none leaves random weights "
            f"below it. Take `--recipe scratch`{or_pretrained}."
        )


def _check_pruning(recipe: Recipe) -> None:
    stages = recipe.gradient_stages
    if recipe.pruning is not None and not (stages and stages[0].trainable == "all"):
        raise InvalidRecipe(
            f"recipe {recipe.name!r}: pruning cuts every layer, and its first stage by "
            "gradient_descent must train all of them again: trainable: all. Take `--recipe pruned`."
        )


def _check_teacher(recipe: Recipe) -> None:
    if recipe.teacher is None:
        return
    stages = recipe.gradient_stages
    if not stages:
        raise InvalidRecipe(
            f"recipe {recipe.name!r}: a teacher is learnt from by gradient_descent, and no stage "
            "trains so. Take `--recipe finetune`, or leave --teacher out."
        )
    for stage in stages:
        if stage.mixup is not None or stage.cutmix is not None:
            raise InvalidRecipe(
                f"stage {stage.name!r}: a teacher answers for whole images, not for mixed ones; "
                "leave mixup and cutmix out, or the teacher."
            )


def _check_classical_stages(recipe: Recipe) -> None:
    if recipe.gradient_stages:
        raise InvalidRecipe(
            f"recipe {recipe.name!r}: {recipe.model} is made of fixed descriptors, which have "
            "nothing to train by gradient_descent. Take `--recipe svm`, forest or linear."
        )
