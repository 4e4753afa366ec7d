"""A recipe by name, file or fields, with what the caller says otherwise, and nothing left open."""

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from holotype.architectures.catalog import DEFAULT_MODEL, architecture
from holotype.arguments import shown
from holotype.dataset.splitting.splitter import check_ratios
from holotype.errors import InvalidRecipe, UnknownRecipe, UsageError, did_you_mean
from holotype.training.config.dotted_keys import plain, set_key
from holotype.training.config.fill_from_architecture import fill_model_defaults
from holotype.training.config.recipe import Recipe
from holotype.training.config.recipe_compatibility import check_compatibility
from holotype.training.config.recipe_variants import parse_variant, select_variant
from holotype.training.config.yaml_files import parse_yaml, read_mapping

RecipeLike: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Recipe
Overrides: TypeAlias = Mapping[str, Any] | Sequence[str]

WEIGHT_WORDS = ("pretrained", "none")  # of the key `weights`; anything else is a file
SHORT_KEYS = ("epochs", "batch_size", "learning_rate")  # of the last stage by gradient descent


def recipe_names() -> list[str]:
    """The recipes that come with Holotype."""
    folder = resources.files("holotype.training.config") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def resolve_recipe(
    recipe: RecipeLike | None = None,
    *,
    model: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    ratios: Sequence[float] | None = None,
    overrides: Overrides | None = None,
) -> Recipe:
    """A recipe with what the caller says otherwise, and nothing left open.

    Args:
        recipe: a name of `recipe_names()`, a YAML file, FILE#VARIANT, the fields, or a recipe; the
            one that suits the model where none is given. None of these is changed.
        model: the only way to name a Python file: one that a recipe names is not run.
        ratios: of train, val and test, and of cal if there is to be one.
        overrides: dotted key -> value, such as `{"stages.1.epochs": 3}`, or `"KEY=VALUE"` words. A
            string is read as YAML. `epochs`, `batch_size` and `learning_rate` are those of the
            last stage that has them, `split_seed` is `split.seed`.

    Raises:
        UnknownRecipe: no such name and no such file.
        InvalidRecipe: an unknown key, a wrong type or an impossible combination.
        InvalidRatios: not three or four parts, or they do not sum to 1.
        UsageError: a word without "=".
    """
    settings = parse_overrides(overrides)
    requested_model = model or settings.get("model")
    if recipe is None:
        recipe = architecture(str(requested_model or DEFAULT_MODEL)).recipe
    fields = _read(recipe)
    fields["split"] = fields.get("split") or {}
    given = {"model": model, "seed": seed, "image_size": image_size}
    fields |= {key: value for key, value in given.items() if value is not None}
    if ratios is not None:
        check_ratios(ratios)
        set_key(fields, "split.ratios", list(ratios))
    for key in SHORT_KEYS:
        if key in settings:
            _set_in_last_stage(fields, key, settings.pop(key))
    if "split_seed" in settings:
        set_key(fields, "split.seed", settings.pop("split_seed"))
    for dotted, value in settings.items():
        set_key(fields, dotted, value)
    resolved = Recipe.model_validate(fill_model_defaults(fields, requested_model))
    check_ratios(resolved.split.ratios)
    check_compatibility(resolved)
    return resolved


def parse_overrides(overrides: Overrides | None) -> dict[str, Any]:
    """Dotted keys and their values; see `resolve_recipe`."""
    if overrides is None:
        return {}
    if isinstance(overrides, str) or not isinstance(overrides, Mapping):
        words = [overrides] if isinstance(overrides, str) else overrides
        if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
            raise UsageError(
                f"overrides is {shown(overrides)}, expected keys and values, such as "
                '{"stages.1.epochs": 3}.'
            )
        for word in words:
            if "=" not in word:
                raise UsageError(f"--set {word!r} has no '='; expected KEY=VALUE, such as seed=1.")
        overrides = {key.strip(): text for key, text in (word.split("=", 1) for word in words)}
    if not all(isinstance(key, str) for key in overrides):
        raise UsageError(f"overrides is {shown(overrides)}; its keys are names, such as seed.")
    return {
        key: parse_yaml(value, f"--set {key}={value}") if isinstance(value, str) else plain(value)
        for key, value in overrides.items()
    }


def _read(recipe: RecipeLike) -> dict[str, Any]:
    """The fields of a recipe, a mapping, a named recipe, a file, or one of a file's variants."""
    if isinstance(recipe, Recipe):
        return recipe.model_dump(mode="json")
    if isinstance(recipe, Mapping):
        fields = plain(recipe)
        assert isinstance(fields, dict)
        return fields
    if not isinstance(recipe, str | os.PathLike):
        raise UsageError(
            f"recipe is {shown(recipe)}, expected a name, a file, its fields or a Recipe."
        )
    name, variant = parse_variant(os.fspath(recipe))
    return select_variant(name, read_fields(name), variant)


def read_fields(recipe: str) -> dict[str, Any]:
    """What a named recipe or a file says, variants and all.

    Raises:
        UnknownRecipe: no such name and no such file.
        InvalidRecipe: it is not a YAML of keys and values.
    """
    if recipe in recipe_names():
        with resources.as_file(
            resources.files("holotype.training.config") / "recipes" / f"{recipe}.yaml"
        ) as bundled:
            return read_mapping(bundled)
    if not Path(recipe).is_file():
        raise UnknownRecipe(
            f"no recipe called {recipe!r}{did_you_mean(recipe, recipe_names())} "
            f"Known: {', '.join(recipe_names())}; or name a YAML file."
        )
    fields = read_mapping(Path(recipe))
    if isinstance(fields.get("weights"), str) and fields["weights"] not in WEIGHT_WORDS:
        fields["weights"] = _beside(Path(recipe), fields["weights"])
    if isinstance(fields.get("teacher"), dict) and isinstance(fields["teacher"].get("run"), str):
        fields["teacher"]["run"] = _beside(Path(recipe), fields["teacher"]["run"])
    return fields


def _beside(recipe: Path, named: str) -> str:
    """What a recipe names relative to itself, as a path from here; anything else as it is."""
    path = os.path.join(recipe.parent, named)
    return path if os.path.exists(_without_stage(path)) else named


def _without_stage(path: str) -> str:
    """RUN of RUN@STAGE; any other path as it is."""
    return path if os.path.exists(path) else path.rpartition("@")[0] or path


def recipe_for_directory(recipe: Recipe, directory: Path) -> Recipe:
    """The recipe as it is written into a directory: its paths are relative to that."""
    changed: dict[str, Any] = {}
    if recipe.weights not in WEIGHT_WORDS:
        changed["weights"] = _relative(recipe.weights, directory)
    if recipe.teacher is not None:
        run = _relative(recipe.teacher.run, directory)
        changed["teacher"] = recipe.teacher.model_copy(update={"run": run})
    return recipe.model_copy(update=changed)


def _relative(path: str, directory: Path) -> str:
    try:
        return Path(os.path.relpath(os.path.realpath(path), os.path.realpath(directory))).as_posix()
    except ValueError:  # another drive
        return path


def recipe_paths(recipe: Path) -> list[Path]:
    """The weights and the teacher that a recipe names, resolved; none of one that is damaged."""
    try:
        fields = read_fields(os.fspath(recipe))
    except InvalidRecipe:
        return []
    teacher = fields.get("teacher")
    named = [fields.get("weights"), teacher.get("run") if isinstance(teacher, dict) else None]
    paths = [path for path in named if isinstance(path, str) and path not in WEIGHT_WORDS]
    return [Path(_without_stage(path)).resolve() for path in paths]


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
