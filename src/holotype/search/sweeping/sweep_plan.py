"""What a sweep runs: every model with every data set, recipe and seed.

    # SWEEP.yaml
    data: [pets, vegetables]
    recipes: [examples/eye_vs_ai.yaml#cnn_v1, linear]
    models: [efficientnet_lite0]      # may be left out: that of each recipe
    seeds: [0, 1]                     # may be left out: that of each recipe
    settings: {image_size: 64}        # of all, as --set takes them

A run is named after what sets it apart: `OUTPUT/pets/cnn_v1-seed0`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from holotype.architectures.pretrained_weights import find_weights
from holotype.dataset.reading.source_types import source_name
from holotype.dataset.safe_filenames import safe_filename
from holotype.errors import DatasetError, HolotypeError, UsageError, did_you_mean
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe_base import RecipeSection
from holotype.training.config.recipe_variants import parse_variant
from holotype.training.config.yaml_files import read_mapping


class SweepPlan(RecipeSection):
    """The axes of a sweep.

    Attributes:
        data: folders and tables, each a data set.
        recipes: names, YAML files, or FILE#VARIANT; empty for the one that suits each model.
        models: empty for that of each recipe.
        seeds: empty for that of each recipe.
        settings: keys of the recipe, the same for all.
        tune: trials of a search before each run; 0 for none.
    """

    data: tuple[str, ...] = Field(min_length=1)
    recipes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    tune: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        group: what the data set is called, a folder of the sweep.
        name: of the run, a folder within it.
        data: where the images are.
        recipe, model, seed: None where nothing was said.
    """

    group: str
    name: str
    data: str
    recipe: str | None
    model: str | None
    seed: int | None

    @property
    def full_name(self) -> str:
        return f"{self.group}/{self.name}"

    def directory(self, output: Path) -> RunDirectory:
        return RunDirectory(output / self.group / self.name)

    def request(self, settings: Mapping[str, Any]) -> TrainingRequest:
        """What `train` would be asked."""
        return TrainingRequest(
            data=self.data, recipe=self.recipe, model=self.model, seed=self.seed,
            overrides=dict(settings),
        )  # fmt: skip


def make_plan(fields: Mapping[str, Any], where: str = "sweep") -> SweepPlan:
    """A plan of these fields.

    Raises:
        UsageError: an unknown key, or a value of the wrong type.
    """
    try:
        return SweepPlan.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        known = tuple(SweepPlan.model_fields)
        hint = did_you_mean(place, known) if first["type"] == "extra_forbidden" else "."
        said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(f"{where}: {place}: {said}{hint} Known: {', '.join(known)}.") from None


def combine_plan(plan: str | Path | Mapping[str, Any] | None, axes: Mapping[str, Any]) -> SweepPlan:
    """The plan of a file or of its fields, where axes that are not empty replace what it says.

    Paths in a file are relative to where the command is called.

    Raises:
        UsageError: it cannot be read, says what is no plan, or no data is named at all.
    """
    where = "sweep"
    if isinstance(plan, str | Path):
        plan, where = read_mapping(Path(plan)), str(plan)
    fields = {**(plan or {}), **{name: value for name, value in axes.items() if value}}
    if not fields.get("data"):
        raise UsageError(
            "no data was named: holotype sweep SWEEP.yaml, or holotype sweep --data DATA …."
        )
    return make_plan(fields, where)


def planned_runs(plan: SweepPlan) -> list[PlannedRun]:
    """Every run, in the order of data, recipes, models and seeds.

    Raises:
        UsageError: two of them would have one name.
    """
    groups = _unique({data: safe_filename(source_name(Path(data))) for data in plan.data})
    labels = _unique({recipe: _label(recipe) for recipe in plan.recipes})
    runs = [
        PlannedRun(
            groups[data], _name(recipe and labels[recipe], model, seed), data, recipe, model, seed
        )
        for data in plan.data
        for recipe in plan.recipes or (None,)
        for model in plan.models or (None,)
        for seed in plan.seeds or (None,)
    ]
    names = [run.full_name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice!r} is named twice; leave one of the equal words out.")
    return runs


def only(runs: Sequence[PlannedRun], pattern: str | None) -> list[PlannedRun]:
    """Those whose name, or DATA/NAME, fits a pattern such as `*linear*`.

    Raises:
        UsageError: none does.
    """
    if pattern is None:
        return list(runs)
    found = [
        run for run in runs if fnmatchcase(run.full_name, pattern) or fnmatchcase(run.name, pattern)
    ]
    if not found:
        names = [run.full_name for run in runs]
        raise UsageError(
            f"--only {pattern!r} fits none of {len(runs)} runs{did_you_mean(pattern, names)} "
            f"The first is {names[0]}."
        )
    return found


def check_runs(runs: Sequence[PlannedRun], plan: SweepPlan) -> None:
    """Refuse now what could not be trained hours later.

    Raises:
        HolotypeError: data that is not there, a recipe that cannot work, weights that cannot be
            had; with the name of the run.
    """
    for data in dict.fromkeys(run.data for run in runs):
        if not Path(data).exists():
            raise DatasetError(f"{data!r} does not exist; expected a folder of images or a table.")
    for run in runs:
        try:
            recipe = run.request(plan.settings).resolve_recipe()
            find_weights(recipe.model, recipe.weights, recipe.model_options)
        except HolotypeError as error:
            raise type(error)(f"{run.full_name}: {error}") from None


def _name(label: str | None, model: str | None, seed: int | None) -> str:
    """What sets a run apart from the others of its data set."""
    plain = None if model is None else safe_filename(model.replace("/", "-").replace(":", "-"))
    parts = [label, plain, None if seed is None else f"seed{seed}"]
    return "-".join(part for part in parts if part) or "run"


def _label(recipe: str) -> str:
    """The variant, or the file without its ending, or the name."""
    file, variant = parse_variant(recipe)
    return safe_filename(variant or Path(file).stem)


def _unique(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels; those that are equal with the name of the file, or of the folder, before them."""
    values = list(labels.values())
    return {
        word: label if values.count(label) == 1 else safe_filename(f"{_before(word)}-{label}")
        for word, label in labels.items()
    }


def _before(word: str) -> str:
    file, variant = parse_variant(word)
    return Path(file).stem if variant else Path(file).absolute().parent.name
