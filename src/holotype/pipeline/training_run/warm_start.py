"""Another recipe starts from the weights that a run left: `train --init-from RUN`."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from holotype.errors import NotARun, UsageError
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import resolve_recipe
from holotype.training.finetuning.checkpoint import stage_weights_file


@dataclass(frozen=True)
class WarmStart:
    """What a run hands on.

    Attributes:
        model: of the run; another one cannot take its weights.
        weights: the best of its last stage by gradient descent.
        image_size: that the network was trained at.
    """

    model: str
    weights: str
    image_size: int


def read_warm_start(path: str | Path, *, model: str | None, weights: str | None) -> WarmStart:
    """What `RUN` or `RUN@STAGE` left for another recipe to start from.

    Args:
        model, weights: what the user said of them, which must not contradict the run.

    Raises:
        NotARun: there is no run, or it no longer holds its weights.
        UsageError: the run trained nothing but a head, or is of another model.
    """
    run = RunDirectory.open(path)
    run_model = str(yaml.safe_load(run.recipe.read_text(encoding="utf-8")).get("model"))
    if model not in (None, run_model):
        raise UsageError(
            f"--init-from {path} holds the weights of {run_model}, and --model says {model}. "
            "Leave --model out."
        )
    recipe = resolve_recipe(run.recipe, model=model)
    if weights is not None:
        raise UsageError(
            f"--init-from {path} and --weights {weights} both say where weights come from; "
            "leave one of them out."
        )
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
    return WarmStart(recipe.model, str(file), recipe.image_size)
