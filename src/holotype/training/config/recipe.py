"""The schema of a recipe: everything that decides a training run.

A named recipe of the package, a user's file and a run's `recipe.yaml` are read the same way;
training with a run's recipe on the same images repeats the run.
"""

from collections.abc import Mapping
from html import escape
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from holotype.architectures.architecture import HeadSpec
from holotype.architectures.catalog import architecture
from holotype.arguments import expectation, shown
from holotype.errors import InvalidRecipe, did_you_mean
from holotype.imaging.preprocessing import Content, Fit, Interpolation, Preprocessing
from holotype.imaging.significant_bits import FULL_BITS
from holotype.training.config.augmentation_config import Augmentation, MixRecipe
from holotype.training.config.fill_from_architecture import fill_model_defaults
from holotype.training.config.recipe_base import RecipeSection
from holotype.training.config.stage_config import (
    STAGES,
    ForestStage,
    GradientStage,
    HeadRecipe,
    LinearStage,
    Stage,
    SvmStage,
    WhiteningStage,
)

REQUIRED = ("model", "weights", "image_size")  # where one is open, the model decides it

Byte = Annotated[int, Field(ge=0, le=255)]


class SplitRecipe(RecipeSection):
    """How images are assigned to splits; its own seed lets training seeds share a test split.

    Attributes:
        ratios: of train, val and test; a fourth is held back to calibrate prediction sets on.
        seed: of the assignment.
        unseen: share of the classes that is held out whole: individuals that training never sees,
            for a search among them. Their images are in `unseen.parquet` of the run.
    """

    ratios: Annotated[tuple[float, ...], Field(min_length=3, max_length=4)] = (0.70, 0.15, 0.15)
    seed: int = 42
    unseen: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TeacherRecipe(RecipeSection):
    """A finished classifier whose answers are learnt beside the labels.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network".

    Attributes:
        run: a run or an ensemble that knows the same classes; its test part is this one's.
        sha256: the digest of its bundle; filled in when training begins, and held to after that.
        temperature: of both answers while they are compared; higher shows more of what the teacher
            thinks of the other classes.
        weight: of the teacher in the loss; the labels have the rest.
    """

    run: str
    sha256: str | None = None
    temperature: Annotated[float, Field(gt=0)] = 2.0
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5


class Recipe(RecipeSection):
    """Everything that decides a training run.

    `weights`, `image_size`, `head` and `split` may be left out: the model decides them.

    Raises:
        InvalidRecipe: an unknown key, a wrong type or an impossible value.

    Attributes:
        name: of the recipe.
        model: a name of the catalogue, `timm:NAME`, or a function in a Python file.
        model_options: options of the architecture, such as `alpha` of MobileNetV2.
        weights: `pretrained`, `none`, or a file.
        image_size: height and width of the network's input in pixels.
        fit, content, interpolation, background: how an image is brought to that size; see
            `Preprocessing`.
        bits: how many are significant in images of 16 bits, such as 12 of a camera; `auto` asks
            the headers and the values of all images.
        tolerate_truncated: read files that are cut off as far as they go, what is missing blank, in
            training and ever after; else they are refused.
        pruning: the share of the channels of every layer that is cut before training; null: none.
        teacher: a classifier to learn from; null: labels alone.
        class_weights: `balanced` gives every class the same total weight in the loss.
        head: the layers on the embedding; null where the classifier is no network.
        test_time_augmentation: which views of an image are averaged when predicting: it and its
            mirror image, the four `flips` (left and right, top and bottom, both), all eight of
            `dihedral`, or `scales`: it and its centre magnified by 1.1 and by 1.2; `auto` lets
            validation choose among those that training saw.
        references: keep the embeddings and names of the training images in the bundle, so that it
            can name those nearest to an image. Whoever gets the bundle gets them too.
        watch_reference: what the bundle keeps of the images of validation, so that `holotype watch`
            needs nothing else: `scores` (probabilities, brightness and the like), or `embeddings`
            too. Whoever gets the bundle gets them too.
        unknown: answer "unknown" for images of no known class, and for at most this share of
            images of known ones, such as 0.05; null: never.
        refit: train once more on training and validation images together, as validation chose, and
            ship that; what was chosen stays as a stage, and validation is reported of it.
        seed: of everything random but the split.
        split: the assignment of images to training, validation and test.
        stages: of training, in order; each starts from the result of the one before.
    """

    name: str
    model: str
    model_options: dict[str, float | int | str | bool] = Field(default_factory=dict)
    weights: str
    image_size: Annotated[int, Field(ge=8, le=4096)]
    fit: Fit = "squash"
    content: Content = "whole"
    interpolation: Interpolation = "bicubic"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    bits: Annotated[int, Field(ge=8, le=16)] | Literal["auto"] = "auto"
    tolerate_truncated: bool = False
    pruning: Annotated[float, Field(gt=0, lt=1)] | None = None
    teacher: TeacherRecipe | None = None
    class_weights: Literal["none", "balanced"] = "none"
    head: HeadRecipe | None = None
    test_time_augmentation: Literal["none", "auto", "mirror", "flips", "dihedral", "scales"] = (
        "none"
    )
    references: bool = False
    watch_reference: Literal["none", "scores", "embeddings"] = "none"
    unknown: Annotated[float, Field(gt=0, le=0.5)] | None = None
    refit: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    split: SplitRecipe = SplitRecipe()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, fields: Any, validate: ModelWrapValidatorHandler["Recipe"]) -> "Recipe":
        """Fill in what the model decides; what is wrong is said in one line."""
        if isinstance(fields, Mapping) and any(fields.get(key) is None for key in REQUIRED):
            fields = fill_model_defaults(fields, requested_model=None)
        try:
            recipe = validate(fields)
            recipe._check_stages()
        except ValidationError as error:
            raise InvalidRecipe(_first_error(error)) from None
        except ValueError as error:
            raise InvalidRecipe(f"recipe: {error}") from None
        return recipe

    def _check_stages(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need different names, got {names}")
        if not all(name.isidentifier() for name in names):
            raise ValueError(f"the name of a stage is letters, digits and '_', got {names}")
        for stage in self.stages:
            if isinstance(stage, SvmStage | ForestStage) and len(self.stages) > 1:
                raise ValueError(f"a stage of {stage.method} must be the only one")
        for later in self.stages[1:]:
            if isinstance(later, LinearStage | WhiteningStage):
                raise ValueError(f"a stage of {later.method} must be the first")

    @property
    def gradient_stages(self) -> list[GradientStage]:
        return [stage for stage in self.stages if isinstance(stage, GradientStage)]

    @property
    def head_spec(self) -> HeadSpec:
        """The head of the network; linear where the recipe has none."""
        head = self.head or HeadRecipe()
        return HeadSpec(
            head.hidden, head.activation or "relu", head.dropout, head.embedding, head.scale or 1.0
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the input of the network, with the statistics of its weights."""
        row = architecture(self.model)
        return Preprocessing(
            height=self.image_size,
            width=self.image_size,
            fit=self.fit,
            interpolation=self.interpolation,
            mean=row.inputs.mean,
            std=row.inputs.std,
            background=self.background,
            content=self.content,
            bits=FULL_BITS if self.bits == "auto" else self.bits,
            tolerate_truncated=self.tolerate_truncated,
        )

    def with_bits(self, bits: int) -> "Recipe":
        """The recipe with the significant bits that an audit found, unless it names its own."""
        return self.model_copy(update={"bits": bits}) if self.bits == "auto" else self

    def up_to(self, stage: str) -> "Recipe":
        """The recipe that ends with the stage of this name."""
        end = [one.name for one in self.stages].index(stage) + 1
        return self.model_copy(update={"stages": self.stages[:end]})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage.name}: {stage.method}" for stage in self.stages)
        return (
            f"Recipe {self.name!r}: {self.model} at {self.image_size} pixels, seed {self.seed}; "
            f"{stages}"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_yaml())}</pre>"


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
        return f"recipe: {place!r} is missing."
    if first["type"] == "value_error":
        return f"recipe: {place + ': ' if place else ''}{first['ctx']['error']}"
    given = shown(first["input"])
    return f"recipe: {place or 'recipe'}: expected {expectation(first)}, got {given}."


SECTIONS: dict[str, type[RecipeSection]] = {
    "split": SplitRecipe,
    "teacher": TeacherRecipe,
    "head": HeadRecipe,
    "augmentation": Augmentation,
    "mixup": MixRecipe,
    "cutmix": MixRecipe,
    **STAGES,
}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    for part in reversed(location[:-1]):
        if part in SECTIONS:
            return list(SECTIONS[str(part)].model_fields)
    return list(Recipe.model_fields)
