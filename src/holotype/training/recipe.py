"""The recipe: everything that decides a training run, resolved, as one readable YAML file.

A named recipe in the package, a file of the user's, or a run's own `recipe.yaml` are read the same
way; replaying a run's recipe on the same pictures repeats the run.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from holotype.errors import InvalidRecipe, UnknownRecipe, did_you_mean
from holotype.models.catalog import DEFAULT_MODEL, architecture
from holotype.preprocessing import Preprocessing

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitRecipe(_Part):
    """How pictures are dealt out; its own seed, so that training seeds share their test part."""

    ratios: tuple[float, float, float] = (0.70, 0.15, 0.15)
    seed: int = 42


class Augmentation(_Part):
    """Random changes of a training picture; the first view of each is always the picture itself.

    Attributes:
        symmetry: which mirror images and quarter turns are equally likely; `dihedral` is for
            pictures without an up, such as cells, slices and material.
        rotation_degrees: an angle is drawn from ± this.
        zoom: a scale is drawn from 1 ± this.
        shift: a shift is drawn from ± this fraction of the size.
        brightness, contrast: a factor is drawn from 1 ± this.
    """

    symmetry: Literal["none", "horizontal", "dihedral"] = "horizontal"
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    zoom: Fraction = 0.1
    shift: Fraction = 0.05
    brightness: Fraction = 0.1
    contrast: Fraction = 0.1


class LinearStage(_Part):
    """A linear head on the pooled embedding, by multinomial logistic regression.

    Attributes:
        strengths: candidates for C, the inverse of the L2 penalty on standardised features.
        folds: of the shuffled, stratified, group-aware cross-validation that chooses among them.
    """

    name: str = "head"
    method: Literal["logistic_regression"]
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2, le=20)]


class GradientStage(_Part):
    """The top of the network and the head, by gradient descent.

    Attributes:
        trainable: how many groups of layers train, counted from the top.
        views: pictures made of each training picture, kept as activations below the top.
        learning_rate: of the topmost group at its peak.
        head_learning_rate: of the head at its peak.
        layer_decay: each group further down learns at this times the rate of the one above it.
        warmup: fraction of all steps in which the rate rises to its peak; then a cosine to zero.
        patience: epochs without a lower validation loss before it stops.
    """

    name: str = "finetune"
    method: Literal["gradient_descent"]
    trainable: Annotated[int, Field(ge=1)]
    views: Annotated[int, Field(ge=1, le=64)]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    head_learning_rate: Positive
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Fraction
    label_smoothing: Fraction
    patience: Annotated[int, Field(ge=1)]
    augmentation: Augmentation


Stage = Annotated[LinearStage | GradientStage, Field(discriminator="method")]


class Recipe(_Part):
    """Everything that decides a training run.

    Attributes:
        weights: `pretrained`, `none`, or a file.
        image_size: height and width in pixels of what the network sees.
        fit: how a picture is brought to that size; see `Preprocessing`.
        background: what transparent pixels are laid on, and what padding shows.
        class_weights: `balanced` weighs every class the same in the loss.
        seed: of everything random but the split.
    """

    name: str
    model: str
    weights: str
    image_size: Annotated[int, Field(ge=8, le=4096)]
    fit: Literal["squash", "crop", "pad"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    background: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ]
    class_weights: Literal["none", "balanced"]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    split: SplitRecipe
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _stages_make_sense(self) -> "Recipe":
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, got {names}")
        if any(isinstance(stage, LinearStage) for stage in self.stages[1:]):
            raise ValueError("a stage of logistic_regression must be the first")
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns a picture into the input of the network, statistics as it was trained with."""
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
        )

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """The recipes that come with Holotype."""
    folder = resources.files("holotype.training") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def resolve_recipe(
    recipe: str | Path = "finetune",
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
        recipe: a name of `recipe_names()` or a YAML file.
        epochs, batch_size, learning_rate: of the last stage that has them.
        overrides: dotted key -> YAML value, such as `{"stages.1.epochs": "3"}`.

    Raises:
        UnknownRecipe: no such name and no such file.
        InvalidRecipe: an unknown key, a wrong type or an impossible combination.
        InvalidRatios: the parts of the split do not sum to 1.
    """
    fields = _read(str(recipe))
    said = {"model": model, "weights": weights, "seed": seed, "image_size": image_size}
    fields |= {key: value for key, value in said.items() if value is not None}
    fields.setdefault("model", DEFAULT_MODEL)
    split_said = {"ratios": list(ratios) if ratios else None, "seed": split_seed}
    fields["split"] = (fields.get("split") or {}) | {
        key: value for key, value in split_said.items() if value is not None
    }
    for key, value in (
        ("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate),
    ):  # fmt: skip
        if value is not None:
            _set_in_last_stage(fields, key, value)
    for dotted, text in (overrides or {}).items():
        _set(fields, dotted, _parse(dotted, text))
    if fields.get("image_size") is None:
        fields["image_size"] = architecture(str(fields["model"])).image_size
    architecture(str(fields["model"]))
    return _validated(fields)


def _read(recipe: str) -> dict[str, Any]:
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


def _set(fields: dict[str, Any], dotted: str, value: Any) -> None:
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
        return place.setdefault(step, {})
    raise InvalidRecipe(f"--set {dotted}: there is nothing inside {step!r}")


def _set_in_last_stage(fields: dict[str, Any], key: str, value: Any) -> None:
    stages = fields.get("stages") or []
    for stage in reversed(stages if isinstance(stages, list) else []):
        if isinstance(stage, dict) and stage.get("method") == "gradient_descent":
            stage[key] = value
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
        raise InvalidRecipe(_one_line(error)) from None
    check_ratios(recipe.split.ratios)
    return recipe


def _one_line(error: ValidationError) -> str:
    """The first complaint, in words; pydantic's own print is for programmers."""
    first = error.errors()[0]
    place = ".".join(
        str(p) for p in first["loc"] if p not in ("logistic_regression", "gradient_descent")
    )
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"])
        return (
            f"recipe: unknown key {place!r}{did_you_mean(str(first['loc'][-1]), known)} "
            f"Known here: {', '.join(known)}."
        )
    if first["type"] == "missing":
        return f"recipe: {place!r} is missing"
    return f"recipe: {place or 'recipe'}: {first['msg']}, got {str(first['input'])[:80]!r}"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "split": SplitRecipe,
        "augmentation": Augmentation,
        "logistic_regression": LinearStage,
        "gradient_descent": GradientStage,
    }
    for part in reversed(location[:-1]):
        if part in models:
            return list(models[str(part)].model_fields)
    return list(Recipe.model_fields)
