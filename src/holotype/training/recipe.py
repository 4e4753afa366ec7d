"""The recipe: everything that decides a training run, resolved, as one readable YAML file.

A named recipe in the package, a file of the user's, or a run's own `recipe.yaml` are read the same
way; replaying a run's recipe on the same images repeats the run.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from holotype.errors import InvalidRecipe, UnknownRecipe, did_you_mean
from holotype.models.catalog import DEFAULT_MODEL, HeadSpec, architecture
from holotype.preprocessing import Preprocessing
from holotype.training.augmentation import Augmentation, MixRecipe
from holotype.training.part import RecipeSection
from holotype.training.stages import (
    METHODS,
    ForestStage,
    GradientStage,
    HeadRecipe,
    LinearStage,
    Stage,
    SvmStage,
)
from holotype.training.variants import parse_variant, select_variant

Byte = Annotated[int, Field(ge=0, le=255)]


class SplitRecipe(RecipeSection):
    """How images are dealt out; its own seed, so that training seeds share their test part.

    Attributes:
        ratios: of train, val and test; a fourth is held back to calibrate sets of classes on.
        seed: deals the images out.
    """

    ratios: Annotated[tuple[float, ...], Field(min_length=3, max_length=4)] = (0.70, 0.15, 0.15)
    seed: int = 42


class Recipe(RecipeSection):
    """Everything that decides a training run.

    Attributes:
        name: what the recipe is called.
        model: a name of the catalogue, `timm:NAME`, or a function in a Python file.
        model_options: what the architecture lets be chosen, such as `alpha` of MobileNetV2.
        weights: `pretrained`, `none`, or a file.
        image_size: height and width in pixels of what the network sees.
        fit, content, interpolation, background: how an image is brought to that size; see
            `Preprocessing`.
        class_weights: `balanced` weighs every class the same in the loss.
        head: what stands on the embedding; null where the classifier is no network.
        test_time_augmentation: which views of an image are averaged when predicting: it and its
            mirror image,
            all eight of `dihedral`, or `scales`: it and its centre magnified by 1.1 and by 1.2;
            `auto` lets validation choose among those that training saw.
        references: keep the training images' embeddings and names in the bundle, so that it can
            say which of them an image looks like. Whoever gets the bundle gets them too.
        unknown: answer "unknown" for images of no known class, and for at most this share of
            images of known ones, such as 0.05; null: never.
        seed: of everything random but the split.
        split: which images train, choose and judge.
        stages: what is trained, one after the other, each from where the one before ended.
    """

    name: str
    model: str
    model_options: dict[str, float | int | str | bool] = Field(default_factory=dict)
    weights: str
    image_size: Annotated[int, Field(ge=8, le=4096)]
    fit: Literal["squash", "crop", "pad"] = "squash"
    content: Literal["whole", "crop"] = "whole"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    class_weights: Literal["none", "balanced"] = "none"
    head: HeadRecipe | None = None
    test_time_augmentation: Literal["none", "auto", "mirror", "dihedral", "scales"] = "none"
    references: bool = False
    unknown: Annotated[float, Field(gt=0, le=0.5)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    split: SplitRecipe
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_stages(self) -> "Recipe":
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, got {names}")
        if not all(name.isidentifier() for name in names):
            raise ValueError(f"a stage's name is a word without spaces or signs, got {names}")
        for stage in self.stages:
            if isinstance(stage, SvmStage | ForestStage) and len(self.stages) > 1:
                raise ValueError(f"a stage of {stage.method} must be the only one")
        if any(isinstance(stage, LinearStage) for stage in self.stages[1:]):
            raise ValueError("a stage of logistic_regression must be the first")
        return self

    @property
    def gradient_stages(self) -> list[GradientStage]:
        return [stage for stage in self.stages if isinstance(stage, GradientStage)]

    @property
    def head_spec(self) -> HeadSpec:
        """The head as the models know it."""
        head = self.head or HeadRecipe()
        return HeadSpec(head.hidden, head.activation or "relu", head.dropout)

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns an image into the input of the network, statistics as it was trained with."""
        row = architecture(self.model)
        assert row.mean is not None
        assert row.std is not None
        return Preprocessing(
            height=self.image_size,
            width=self.image_size,
            fit=self.fit,
            interpolation=self.interpolation,
            mean=row.mean,
            std=row.std,
            background=self.background,
            content=self.content,
        )

    def up_to(self, stage: str) -> "Recipe":
        """The recipe that ends with the stage of this name."""
        end = [one.name for one in self.stages].index(stage) + 1
        return self.model_copy(update={"stages": self.stages[:end]})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """The recipes that come with Holotype."""
    folder = resources.files("holotype.training") / "recipes"
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
    from holotype.dataset.split import check_ratios
    from holotype.training.combinations import check_compatibility, fill_model_defaults

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
    bundled = resources.files("holotype.training") / "recipes" / f"{recipe}.yaml"
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
    from holotype.dataset.split import check_ratios

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
    place = ".".join(str(p) for p in location if p not in METHODS)
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


_SECTIONS: dict[str, type[BaseModel]] = {
    "split": SplitRecipe,
    "head": HeadRecipe,
    "augmentation": Augmentation,
    "mixup": MixRecipe,
    "cutmix": MixRecipe,
    "logistic_regression": LinearStage,
    "svm": SvmStage,
    "random_forest": ForestStage,
    "gradient_descent": GradientStage,
}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    for part in reversed(location[:-1]):
        if part in _SECTIONS:
            return list(_SECTIONS[str(part)].model_fields)
    return list(Recipe.model_fields)
