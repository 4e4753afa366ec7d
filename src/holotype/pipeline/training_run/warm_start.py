"""Warm start: train from the weights that another run left, `train --init-from RUN`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holotype.errors import NotARun, UsageError
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import Overrides, parse_overrides, resolve_recipe
from holotype.training.config.yaml_files import read_mapping
from holotype.training.finetuning.checkpoint import checkpoint_classes, stage_weights_file


def with_warm_start(request: TrainingRequest) -> TrainingRequest:
    """The request with model, weights and image size of the run that it starts from, if any.

    Raises:
        NotARun: there is no run, or it no longer holds its weights.
        UsageError: the run trained nothing but a head, or model or weights are given as well.
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
    file = stage_weights_file(run.root_run.checkpoints, recipe.gradient_stages[-1].name)
    if not file.is_file():
        raise NotARun(
            f"{str(path)!r} does not hold the weights that its last stage left (expected "
            f"{str(file)!r}); finish it with --resume, or train it again."
        )
    checkpoint_classes(file)  # refuses one that is damaged
    return replace(
        request,
        model=recipe.model,
        image_size=request.image_size or recipe.image_size,
        overrides=_with_weights(request.overrides, file),
    )


def _with_weights(overrides: Overrides | None, file: Path) -> Overrides:
    if overrides is None or isinstance(overrides, Mapping):
        return {**(overrides or {}), "weights": file}
    return [*overrides, f"weights={json.dumps(str(file))}"]
