"""Begin a run, or resume one that was killed with the same result as if it had not been.

Every file is renamed into its place when it is whole, activations are kept a
shard at a time, a stage leaves its state after every epoch, and the same recipe on the same
images gives the same bytes. So a run goes on by being called again: what is there already is
taken, the rest is done.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.bundle.bundle import load_bundle
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index, read_index_file
from holotype.errors import BundleError, CorruptFile, DatasetError, RunMismatch
from holotype.evaluation.report_data import read_report
from holotype.pipeline.training_run.training_job import TrainingJob, write_environment
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import (
    WEIGHT_WORDS,
    read_fields,
    recipe_for_directory,
)
from holotype.training.config.yaml_files import flatten

if TYPE_CHECKING:
    import pandas as pd


MAX_NAMED = 3  # of the differences, so many are named


def begin_run(job: TrainingJob, index: Index, run: RunDirectory, *, is_fold: bool = False) -> bool:
    """Write what the run is of: recipe, index, audit and environment; or go on with a run.

    Args:
        index: split, or in folds.
        run: created, and held by this process.
        is_fold: whether the parent run holds the audit.

    Returns:
        False where the run is finished already.

    Raises:
        RunMismatch: the run began with another recipe or other images.
    """
    if job.request.resuming.resume:
        require_same_inputs(run, job.recipe, index)
        if is_finished(run):
            job.progress.log(f"{run.path} is finished already; nothing was done again")
            return False
    run.write_recipe(recipe_for_directory(job.recipe, run.path).to_yaml())
    index.write(run.index)
    if not is_fold:
        job.progress.log_all(job.audit.write_findings(run.audit))
    write_environment(run, job.runtime.device, job.named_tables())
    return True


def require_same_inputs(run: RunDirectory, recipe: Recipe, index: Index) -> None:
    """Refuse to go on with anything but what the run began with.

    Raises:
        RunMismatch: another recipe or other images, with the difference.
    """
    if run.recipe.is_file():
        require_same_recipe(run.recipe, recipe)
    if run.index.is_file():
        _require_same_images(run, index)


def is_finished(run: RunDirectory) -> bool:
    """Whether the page of the report, which is written last, is there, and what it is of too.

    A bundle or predictions that are missing or damaged are made again.
    """
    if not (run.report / "index.html").is_file():
        return False
    try:
        parts = set(read_index_file(run.index).table["split"]) & {"val", "test"}
        if run.folds.is_dir():  # what validated one fold has trained the others
            parts = {"oof"} | parts - {"val"}
        files = {run.predictions / f"{part}.parquet" for part in parts}
        load_bundle(run.path)
        read_report(run.metrics)
        for file in files.union(run.predictions.glob("[!.]*.parquet")):
            read_predictions(file)
    except (BundleError, DatasetError, CorruptFile):
        return False
    return True


def require_same_recipe(file: Path, recipe: Recipe) -> None:
    """Refuse another recipe than the one in a file, which lies in its run.

    Args:
        recipe: resolved; where `bits` is left to the images, they are what they were.

    Raises:
        RunMismatch: with the difference.
    """
    written = read_fields(str(file))
    # A key that is younger than the run had its default.
    newer_defaults = {
        name: field.default
        for name, field in Recipe.model_fields.items()
        if name not in written and field.default_factory is None and not field.is_required()
    }
    began = flatten({**written, **newer_defaults})
    now = flatten(recipe.model_dump(mode="json"))
    if now["bits"] == "auto":
        now["bits"] = began["bits"]
    for fields in (began, now):
        for key in ("weights", "teacher.run"):
            if fields.get(key) not in (None, *WEIGHT_WORDS):
                fields[key] = os.path.realpath(str(fields[key]))
    different = [
        f"{key}: {began.get(key, 'nothing')} then, {now.get(key, 'nothing')} now"
        for key in dict.fromkeys([*began, *now])
        if began.get(key) != now.get(key)
    ]
    if different:
        raise RunMismatch(
            f"{str(file.parent)!r} began with another recipe ({_few(different)}). Call with the "
            f"same one (--recipe {file}), or choose another --output."
        )


def _require_same_images(run: RunDirectory, index: Index) -> None:
    began, now = _rows(read_index_file(run.index).table), _rows(index.table)
    different = [
        *(f"{path!r} is gone" for path in sorted(began.keys() - now.keys())),
        *(f"{path!r} is new" for path in sorted(now.keys() - began.keys())),
        *(
            f"{path!r} changed"
            for path in sorted(began)
            if now.get(path, began[path]) != began[path]
        ),
    ]
    if different:
        raise RunMismatch(
            f"{str(run.path)!r} began with other images ({_few(different)}). Bring them back, or "
            "choose another --output to train on these."
        )


def _rows(table: "pd.DataFrame") -> dict[str, tuple[Any, ...]]:
    """What decides a training, by path: bytes, label, group, part, fold and weight."""
    table = table.assign(group=table["group"].map(class_name))  # once kept in any Unicode form
    columns = [table[name] for name in ("sha256", "label", "group", "split", "fold", "weight")]
    return dict(zip(table["path"], zip(*columns, strict=True), strict=True))


def _few(different: list[str]) -> str:
    more = len(different) - MAX_NAMED
    return "; ".join(different[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
