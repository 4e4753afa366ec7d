"""The examples, and how each becomes small enough for a test: sizes and numbers, nothing else."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from holotype.architectures.catalog import architecture
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import GradientStage

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = ("fossils", "materials", "turtles", "eye_vs_ai", "cats_and_dogs")
VARIANTS = {
    name: tuple(yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))["variants"])
    for name in NAMES
}

SIZES = {"EfficientNet": 96, "EfficientNetV2": 96}  # smaller and random, they amplify rounding


def recipe_of(name: str, variant: str) -> str:
    """As the command line takes it."""
    return f"{FOLDER / name}.yaml#{variant}"


def resolved(name: str, variant: str) -> Recipe:
    return resolve_recipe(recipe_of(name, variant))


def reduced(
    name: str,
    variant: str,
    *,
    model: str | None = None,
    image_size: int | None = None,
    stage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of `holotype.train`: the example at its smallest, from random weights.

    Args:
        model: a tiny network of the same kind instead; its real weights where it has any here.
        stage: keys of every stage of gradient descent.
    """
    recipe = resolved(name, variant)
    row = architecture(model or recipe.model)
    arguments: dict[str, Any] = {
        "recipe": recipe_of(name, variant),
        "image_size": image_size or SIZES.get(row.family, max(row.inputs.minimum_size, 32)),
        "overrides": {},
    }
    if row.kind == "pretrained" and row.published.package is None:
        arguments["overrides"]["weights"] = "none"  # without this line: the real ones
    if model is not None:
        arguments |= {"model": model}
        arguments["overrides"]["model_options"] = "{}"
    for number, one in enumerate(recipe.stages):
        keys = _of_stage(one, stage) if isinstance(one, GradientStage) else {"folds": 2}
        arguments["overrides"] |= {f"stages.{number}.{key}": str(v) for key, v in keys.items()}
    if arguments["overrides"].get("weights") == "none" and all(
        isinstance(one, GradientStage) and one.trainable == 0 for one in recipe.stages
    ):
        # The head alone cannot learn on random numbers, and is refused.
        arguments["overrides"] |= {
            "stages.0.trainable": "all", "stages.0.learning_rate": "0.001",
        }  # fmt: skip
    return arguments


def _of_stage(one: GradientStage, stage: Mapping[str, Any] | None) -> dict[str, Any]:
    """One epoch of small batches unless said otherwise."""
    return {"epochs": 1, "views": 2, "batch_size": 16, "accumulation": 1, **(stage or {})}


def epochs_of(run: RunDirectory) -> list[tuple[str, int, int]]:
    """Stage, epoch and how many numbers trained, in the order of `history.csv`."""
    with run.history.open(encoding="utf-8") as file:
        return [
            (row["stage"], int(row["epoch"]), int(row["num_trainable_parameters"]))
            for row in csv.DictReader(file)
        ]
