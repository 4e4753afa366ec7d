"""The recipe of a trial: the base of the search with what was drawn."""

from collections.abc import Mapping
from typing import Any

from holotype.search.search_space import SearchSpace
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import read_fields, resolve_recipe
from holotype.training.config.stage_config import STAGES, ConditionalSection, HeadRecipe

RECIPE, LAST, MODEL = "recipe", "last", "model"

# What another recipe keeps of the base: network, images and split.
KEPT = (
    "model", "model_options", "weights", "image_size", "fit", "content", "interpolation",
    "background", "class_weights", "test_time_augmentation", "references", "unknown", "refit",
    "seed", "split",
)  # fmt: skip
OF_A_MODEL = ("image_size", "head", "model_options")  # its own, unless they are drawn too


def trial_recipe(base: Recipe, space: SearchSpace, params: Mapping[str, Any]) -> Recipe:
    """The recipe of what was drawn, resolved.

    Args:
        params: key -> value, as drawn from the space.

    Raises:
        InvalidRecipe: what was drawn does not go together.
    """
    fields = base.model_dump(mode="json")
    fields["stages"] = [_reopened(stage, STAGES[stage["method"]]) for stage in fields["stages"]]
    fields["head"] = fields["head"] and _reopened(fields["head"], HeadRecipe)
    other = params.get(RECIPE, base.name)
    if other != base.name:
        fields = {**read_fields(str(other)), **{key: fields[key] for key in KEPT}}
    model = str(params.get(MODEL, base.model))
    if model != base.model:
        fields = {key: value for key, value in fields.items() if key not in OF_A_MODEL}
    overrides = {
        _numbered(row.key, len(fields["stages"])): [value] if row.as_list else value
        for row, value in space.drawn_rows(lambda row: params[row.key])
        if row.key not in (RECIPE, MODEL)
    }
    return resolve_recipe(fields, model=model, overrides=overrides)


def _numbered(key: str, stages: int) -> str:
    """`last.epochs` as `stages.1.epochs`."""
    first, dot, rest = key.partition(".")
    return f"stages.{stages - 1}.{rest}" if first == LAST and dot else key


def _reopened(section: dict[str, Any], kind: type[ConditionalSection]) -> dict[str, Any]:
    """A section without keys that have their default beside another key, which may be drawn."""
    defaults = {rule.key: rule.default for rule in kind.key_rules if rule.default is not None}
    return {
        key: value
        for key, value in section.items()
        if key not in defaults or value != defaults[key]
    }
