"""A recipe and its architecture: defaults that the network decides, and impossible combinations."""

from collections.abc import Mapping
from typing import Any

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import (
    DEFAULT_MODEL,
    architecture,
    is_custom_model,
    require_options,
    require_size,
)
from holotype.errors import InvalidRecipe
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import (
    ForestStage,
    GradientStage,
    HeadRecipe,
    LinearStage,
    SvmStage,
)

CLASSICAL = "classical"


def fill_model_defaults(fields: Mapping[str, Any], requested_model: object) -> dict[str, Any]:
    """Fill in model, weights, image size and head where the recipe leaves them open.

    Args:
        fields: as they were read.
        requested_model: the model that the caller named; no other may be a Python file, as the
            file is executed.

    Raises:
        InvalidRecipe: only the recipe names a Python file.
        UnknownModel: no such architecture.
    """
    name = str(fields.get("model") or DEFAULT_MODEL)
    if is_custom_model(name) and name != requested_model:
        raise InvalidRecipe(
            f"the recipe names a Python file, {name!r}; a file is run only where you name it "
            f"yourself: --model {name}"
        )
    row = architecture(name)
    own: dict[str, Any] = {
        "model": name,
        "weights": "pretrained" if row.kind == "pretrained" else "none",
        "image_size": row.inputs.image_size,
        "head": _default_head(row, fields),
    }
    return {**fields, **{key: value for key, value in own.items() if fields.get(key) is None}}


def _default_head(row: Architecture, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The architecture's own; a linear one where logistic regression fits it."""
    methods = [
        stage.get("method") for stage in fields.get("stages") or () if isinstance(stage, dict)
    ]
    if {"svm", "random_forest"} & set(methods):
        return None
    if "logistic_regression" in methods:
        return HeadRecipe().model_dump()
    spec = row.head
    own = {"hidden": spec.hidden, "dropout": spec.dropout}
    return {**own, "activation": spec.activation} if spec.hidden else own


def check_compatibility(recipe: Recipe) -> None:
    """Refuse what cannot work, or would have no effect, before any image is read.

    Raises:
        InvalidRecipe: with the reason and what to write instead.
    """
    row = architecture(recipe.model)
    require_size(recipe.model, recipe.image_size)
    require_options(recipe.model, recipe.model_options)
    _check_head(recipe)
    _check_weights(recipe, row)
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
    if not recipe.gradient_stages and head is not None and head.dropout:
        raise InvalidRecipe(
            "recipe: head: dropout does nothing here: no stage trains by gradient_descent; leave "
            "it out."
        )


def _check_weights(recipe: Recipe, row: Architecture) -> None:
    if row.kind == CLASSICAL or recipe.weights != "none":
        return
    if all(not isinstance(s, GradientStage) or s.trainable == 0 for s in recipe.stages):
        raise InvalidRecipe(
            f"recipe {recipe.name!r} trains only the head, and weights: none leaves random weights "
            f"below it. Take `--recipe scratch`{_or_pretrained(row)}."
        )


def _or_pretrained(row: Architecture) -> str:
    return ", or `--weights pretrained`" if row.kind == "pretrained" else ""


def _check_classical_stages(recipe: Recipe) -> None:
    if recipe.gradient_stages:
        raise InvalidRecipe(
            f"recipe {recipe.name!r}: {recipe.model} is made of fixed descriptors, which have "
            "nothing to train by gradient_descent. Take `--recipe svm`, forest or linear."
        )
