"""A recipe by name, file or fields, with what the caller says otherwise, and nothing left open."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from holotype.architectures.catalog import DEFAULT_MODEL, architecture
from holotype.dataset.splitting.splitter import check_ratios
from holotype.errors import InvalidRecipe, UnknownRecipe, did_you_mean
from holotype.training.config.recipe import SECTIONS, Recipe
from holotype.training.config.recipe_compatibility import check_compatibility, fill_model_defaults
from holotype.training.config.recipe_variants import parse_variant, select_variant
from holotype.training.config.stage_config import STAGES


def recipe_names() -> list[str]:
    """The recipes that come with Holotype."""
    folder = resources.files("holotype.training.config") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def resolve_recipe(
    recipe: str | Path | None = None,
    *,
    model: str | None = None,
    weights: str | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    ratios: Sequence[float] | None = None,
    split_seed: int | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Recipe:
    """A recipe by name or file, with what the caller says otherwise, and nothing left open.

    Args:
        recipe: a name of `recipe_names()` or a YAML file; the one that suits the model where
            none is named.
        model: the only way to name a Python file: one that a recipe names is not run.
        epochs, batch_size, learning_rate: of the last stage that has them.
        ratios: of train, val and test, and of cal if there is to be one.
        overrides: dotted key -> YAML value, such as `{"stages.1.epochs": "3"}`.

    Raises:
        UnknownRecipe: no such name and no such file.
        InvalidRecipe: an unknown key, a wrong type or an impossible combination.
        InvalidRatios: not three or four parts, or they do not sum to 1.
    """
    settings = {dotted: _parse(dotted, text) for dotted, text in (overrides or {}).items()}
    requested_model = model or settings.get("model")
    fields = _read(str(recipe or architecture(str(requested_model or DEFAULT_MODEL)).recipe))
    given = {"model": model, "weights": weights, "seed": seed, "image_size": image_size}
    fields |= {key: value for key, value in given.items() if value is not None}
    if ratios is not None:
        check_ratios(ratios)
    split_given = {"ratios": None if ratios is None else list(ratios), "seed": split_seed}
    fields["split"] = (fields.get("split") or {}) | {
        key: value for key, value in split_given.items() if value is not None
    }
    for key, value in (
        ("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate),
    ):  # fmt: skip
        if value is not None:
            _set_in_last_stage(fields, key, value)
    for dotted, value in settings.items():
        _set_key(fields, dotted, value)
    resolved = _validated(fill_model_defaults(fields, requested_model))
    check_compatibility(resolved)
    return resolved


def _read(recipe: str) -> dict[str, Any]:
    """The fields of a named recipe, of a file, or of one of a file's variants."""
    recipe, variant = parse_variant(recipe)
    return select_variant(recipe, read_fields(recipe), variant, _set_key)


def read_fields(recipe: str) -> dict[str, Any]:
    """What a named recipe or a file says, variants and all.

    Raises:
        UnknownRecipe: no such name and no such file.
        InvalidRecipe: it is not a YAML of keys and values.
    """
    bundled = resources.files("holotype.training.config") / "recipes" / f"{recipe}.yaml"
    if recipe in recipe_names():
        text = bundled.read_text(encoding="utf-8")
    elif Path(recipe).is_file():
        text = Path(recipe).read_text(encoding="utf-8")
    else:
        raise UnknownRecipe(
            f"no recipe called {recipe!r}{did_you_mean(recipe, recipe_names())} "
            f"Known: {', '.join(recipe_names())}; or name a YAML file."
        )
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRecipe(f"{recipe}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict):
        raise InvalidRecipe(f"{recipe}: expected keys and values, got {type(fields).__name__}")
    return fields


def _parse(dotted: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InvalidRecipe(f"--set {dotted}={text}: the value is not YAML") from None


def _set_key(fields: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `stages.1.epochs` and the like; the keys themselves are judged by the validation."""
    *path, last = dotted.split(".")
    place: Any = fields
    for step in path:
        place = _step_into(place, step, dotted)
    if isinstance(place, list):
        _step_into(place, last, dotted)
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise InvalidRecipe(f"--set {dotted}: {'.'.join(path)!r} has no keys inside")


def _step_into(place: Any, step: str, dotted: str) -> Any:
    if isinstance(place, list):
        if not step.isdigit() or int(step) >= len(place):
            raise InvalidRecipe(
                f"--set {dotted}: expected a number from 0 to {len(place) - 1}, got {step!r}"
            )
        return place[int(step)]
    if isinstance(place, dict):
        # A copy, since stages that share a part through a YAML anchor share the object too.
        inside = place.get(step)
        place[step] = {} if inside is None else _copied(inside)
        return place[step]
    raise InvalidRecipe(f"--set {dotted}: there is nothing inside {step!r}")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value)
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _set_in_last_stage(fields: dict[str, Any], key: str, value: Any) -> None:
    stages = fields.get("stages") or []
    for stage in reversed(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict) and stage.get("method") == "gradient_descent":
            only_the_head = key == "learning_rate" and stage.get("trainable") == 0
            stage["head_learning_rate" if only_the_head else key] = value
            return
    raise InvalidRecipe(
        f"recipe {fields.get('name')!r} has no {key}: none of its stages trains by gradient "
        "descent. Take `--recipe finetune`, or leave the option out."
    )


def _validated(fields: dict[str, Any]) -> Recipe:
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as error:
        raise InvalidRecipe(_first_error(error)) from None
    check_ratios(recipe.split.ratios)
    return recipe


def _first_error(error: ValidationError) -> str:
    """The first complaint, in words; pydantic's own print is for programmers."""
    first = error.errors()[0]
    location = first["loc"]
    place = ".".join(str(p) for p in location if p not in STAGES)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location)
        return (
            f"recipe: unknown key {place!r}{did_you_mean(str(location[-1]), known)} "
            f"Known here: {', '.join(known)}."
        )
    if first["type"] == "missing":
        return f"recipe: {place!r} is missing"
    if first["type"] == "value_error":
        return f"recipe: {place + ': ' if place else ''}{first['ctx']['error']}"
    return f"recipe: {place or 'recipe'}: {first['msg']}, got {str(first['input'])[:80]!r}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    for part in reversed(location[:-1]):
        if part in SECTIONS:
            return list(SECTIONS[str(part)].model_fields)
    return list(Recipe.model_fields)
