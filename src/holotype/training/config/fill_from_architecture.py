"""What the architecture decides where a recipe leaves it open: weights, image size and head."""

from collections.abc import Mapping
from typing import Any

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import DEFAULT_MODEL, architecture, is_custom_model
from holotype.errors import InvalidRecipe
from holotype.training.config.stage_config import HeadRecipe

DEFAULT_EMBEDDING = 128  # dimensions of a learnt embedding


def fill_model_defaults(fields: Mapping[str, Any], requested_model: object) -> dict[str, Any]:
    """The fields of a recipe with nothing left open.

    Args:
        fields: as they were read.
        requested_model: the model that the caller named; only that one may be a Python file, since
            it is run.

    Raises:
        InvalidRecipe: the recipe itself names a Python file.
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
    """The architecture's own; a linear one, or one that embeds, where the stages need that."""
    given = fields.get("stages")
    stages = [
        stage
        for stage in (given if isinstance(given, list | tuple) else ())
        if isinstance(stage, Mapping)
    ]
    methods = [stage.get("method") for stage in stages]
    losses = {stage.get("loss") for stage in stages}
    if "whitening" in methods or losses & {"arcface", "triplet"}:
        return HeadRecipe(embedding=DEFAULT_EMBEDDING).model_dump()
    if "svm" in methods or "random_forest" in methods:
        return None
    if "logistic_regression" in methods:
        return HeadRecipe().model_dump()
    spec = row.head
    own = {"hidden": spec.hidden, "dropout": spec.dropout}
    return {**own, "activation": spec.activation} if spec.hidden else own
