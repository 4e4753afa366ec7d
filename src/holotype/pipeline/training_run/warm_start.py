"""What a training takes from other runs: weights to start from, and a teacher's answers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holotype.bundle.bundle import load_bundle
from holotype.dataset.class_names import class_differences, class_name
from holotype.dataset.index import Index, read_index_file
from holotype.errors import InvalidRecipe, NotARun, SplitLeakage, UsageError
from holotype.explanation.torch_models import run_of
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.registry.resolve_registered import registered_path
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import Overrides, parse_overrides, resolve_recipe
from holotype.training.config.yaml_files import read_mapping
from holotype.training.finetuning.checkpoint import checkpoint_classes, stage_weights_file


def with_warm_start(request: TrainingRequest) -> TrainingRequest:
    """The request with model, weights and image size of the run that it starts from, if any.

    Raises:
        NotARun: there is no run, or it no longer holds its weights.
        UsageError: the run trained nothing but a head, was pruned, or is the mean of folds; or
            model or weights are given as well.
    """
    path = request.resuming.init_from
    if path is None:
        return request
    overrides = parse_overrides(request.overrides)
    model = request.model or overrides.get("model")
    run = RunDirectory.open(path)
    run_model = str(read_mapping(run.recipe).get("model"))
    if model not in (None, run_model):
        raise UsageError(
            f"--init-from {path} holds the weights of {run_model}, and --model says {model}. "
            "Leave --model out."
        )
    if overrides.get("weights") is not None:
        raise UsageError(
            f"--init-from {path} and --weights {overrides['weights']} both say where weights come "
            "from; leave one of them out."
        )
    recipe = resolve_recipe(run.recipe, model=model)
    if not recipe.gradient_stages:
        raise UsageError(
            f"{str(path)!r} trained only a head ({recipe.name}), so its network is still as it "
            "started; leave --init-from out."
        )
    if recipe.pruning is not None:
        raise UsageError(
            f"{str(path)!r} left a pruned network, whose layers are smaller than those that "
            f"{recipe.model} is built with, so nothing can start from it; start from the run that "
            "it was pruned from, or leave --init-from out."
        )
    if run.folds.is_dir():
        raise UsageError(
            f"{str(path)!r} is the mean of its folds, and training starts from one network; name "
            f"one of them, such as {str(run.fold(0).path)!r}."
        )
    file = stage_weights_file(run.root_run.checkpoints, recipe.gradient_stages[-1].name)
    if not file.is_file():
        raise NotARun(
            f"{str(path)!r} does not hold the weights that its last stage left (expected "
            f"{str(file)!r}); finish it with --resume, or train it again."
        )
    checkpoint_classes(file)  # refuses one that is damaged
    changes: dict[str, Any] = {"weights": str(file)}
    if recipe.model_options and not any(key.startswith("model_options") for key in overrides):
        changes["model_options"] = dict(recipe.model_options)
    return replace(
        request,
        model=recipe.model,
        image_size=request.image_size or recipe.image_size,
        overrides=_with_changes(request.overrides, changes),
    )


def _with_changes(overrides: Overrides | None, changes: Mapping[str, Any]) -> Overrides:
    if overrides is None or isinstance(overrides, Mapping):
        return {**(overrides or {}), **changes}
    return [*overrides, *(f"{key}={json.dumps(value)}" for key, value in changes.items())]


def recipe_with_teacher(request: TrainingRequest) -> Recipe:
    """The recipe of a request, resolved, with the path and the digest of its teacher, if any.

    Raises:
        UsageError: a teacher for folds.
        NotABundle: there is no classifier.
        InvalidRecipe: it is another one than the recipe says.
    """
    recipe = request.resolve_recipe()
    teacher = recipe.teacher
    if teacher is None:
        return recipe
    if request.folds is not None:
        raise UsageError(
            "--folds tests every image once, and a teacher has learnt from some of them; leave "
            "one of both out."
        )
    path = registered_path(teacher.run)
    digest = load_bundle(path).sha256
    if teacher.sha256 not in (None, digest):
        raise InvalidRecipe(
            f"teacher: {teacher.run!r} holds the bundle {digest}, and the recipe was trained with "
            f"{teacher.sha256}. Name that one, or leave its sha256 out."
        )
    found = teacher.model_copy(update={"run": str(path), "sha256": digest})
    return recipe.model_copy(update={"teacher": found})


def check_teacher(recipe: Recipe, index: Index) -> None:
    """Refuse a teacher that learnt from images which this training is judged by.

    Args:
        index: split.

    Raises:
        InvalidRecipe: it knows other classes, or does not say what it was trained on.
        SplitLeakage: it was trained on images of validation or test.
    """
    if recipe.teacher is None:
        return
    path = recipe.teacher.run
    teacher = load_bundle(path)
    known = {class_name(name) for name in teacher.classes}
    if difference := class_differences((path, known), (str(index.root), index.classes)):
        raise InvalidRecipe(
            f"teacher: the classes of teacher and images differ: {difference}; expected the same."
        )
    run = run_of(path)
    if run is None or not run.index.is_file():
        raise InvalidRecipe(
            f"teacher: {path!r} does not say what it was trained on; name the run of the bundle."
        )
    table = read_index_file(run.index).table
    # Where folds took turns, every image trained some member.
    learnt = ["train", "", "val"] if teacher.trained_on_validation else ["train", ""]
    trained = set(table.loc[table["split"].isin(learnt), "sha256"])
    chosen = set(table.loc[table["split"] == "val", "sha256"])  # by these
    own = index.table
    leaked = own[
        (own["split"].isin(["val", "test", "cal"]) & own["sha256"].isin(trained))
        | (own["split"].isin(["test", "cal"]) & own["sha256"].isin(chosen))
    ]
    if len(leaked):
        raise SplitLeakage(
            f"teacher: {path!r} was trained on {len(leaked):,} images that this training is judged "
            f"by, such as {leaked['path'].iloc[0]!r}: it would pass their labels on. Train both on "
            "the same split (--split-seed)."
        )
