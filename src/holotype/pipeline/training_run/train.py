"""Images -> index -> audit -> split -> train -> bundle -> predictions -> report."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holotype.architectures.catalog import architecture
from holotype.architectures.pretrained_weights import find_weights
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.auditing.exclude_confirmed import (
    confirmed_rows,
    drop_unreadable,
    exclude_images,
)
from holotype.dataset.auditing.relabel_confirmed import new_labels, relabel_images
from holotype.dataset.index import Index, read_index, require_classes
from holotype.dataset.reading.source_types import DataSource
from holotype.errors import UsageError
from holotype.extras import with_install_advice
from holotype.imaging.image_warnings import warning_notes
from holotype.imaging.significant_bits import FULL_BITS
from holotype.pipeline.audit import Audit
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.cross_validation import train_folds
from holotype.pipeline.training_run.excluded_images import require_trainable
from holotype.pipeline.training_run.single_run import train_single_run
from holotype.pipeline.training_run.training_estimate import TrainingEstimate, estimate_training
from holotype.pipeline.training_run.training_job import (
    TrainingJob,
    TrainingRequest,
    table_digests,
)
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
from holotype.pipeline.training_run.warm_start import (
    check_teacher,
    recipe_with_teacher,
    with_warm_start,
)
from holotype.run_directory import claim_run
from holotype.tracking.track import track_trained
from holotype.tracking.tracking_target import parse_targets
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import Overrides, RecipeLike
from holotype.training.features.device import resolve_device, use_deterministic_algorithms
from holotype.training.features.disk_budget import disk_budget
from holotype.training.interruption import StopSignal, naming_resume
from holotype.training.preflight import check_stages
from holotype.training.process_group import (
    WHOLE,
    is_first_process,
    leading_processes,
    process_share,
)
from holotype.training.training_resources import Runtime


@with_install_advice
def train(
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path | None = None,
    recipe: RecipeLike | None = None,
    model: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    overrides: Overrides | None = None,
    ratios: Sequence[float] | None = None,
    folds: int | None = None,
    reading: ReadingOptions = ReadingOptions(),
    resources: Resources = Resources(),
    resuming: Resuming = Resuming(),
) -> Run:
    """Audit and split labelled images, train a classifier, and evaluate it once on test.

    Example:
        >>> run = holotype.train("photos", recipe="linear")  # doctest: +SKIP
        >>> run.metrics["accuracy"]  # doctest: +SKIP
        0.912 [0.887, 0.934]

    Args:
        data: a folder with one folder per class, split folders, a CSV or Parquet table, or a
            DataFrame with the columns path and label and, if you like, group, split and weight; or
            several of these.
        output: the run directory; `runs/NAME-1`, `-2`, … by default.
        recipe: a name such as `linear` or `finetune`, a YAML file, FILE#VARIANT, a dict or a
            `Recipe`; by default the one that suits the model.
        model: a name that `holotype.models()` lists, `timm:NAME`, or `FILE.py:FUNCTION`, which is
            run.
        seed: of everything random in training; the split has its own.
        image_size: height and width that the network sees, in pixels.
        overrides: any other key of the recipe: `{"stages.1.epochs": 3}` or `["stages.1.epochs=3"]`;
            `weights` (`pretrained`, `none` or a file), `epochs`, `batch_size` and `learning_rate`
            of the last stage, `split_seed`, `teacher.run` (a run to learn from).
        ratios: of train, val and test; a fourth part, cal, is held back to calibrate prediction
            sets. They sum to 1.
        folds: cross-validate: train so many classifiers, each tested on its own fold, and ship
            their mean; None trains one classifier on one split.
        reading: how labels and groups are read, and which images train.
        resources: device, memory and disk.
        resuming: what to go on from.

    Returns:
        The finished run. SIGTERM ends a training after the current step, with a checkpoint.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    return run_training(
        TrainingRequest(
            data=data, output=output, recipe=recipe, model=model, seed=seed, image_size=image_size,
            overrides=overrides, ratios=ratios, folds=folds, reading=reading, resources=resources,
            resuming=resuming,
        )
    )  # fmt: skip


def estimate(
    data: "DataSource | Sequence[DataSource]",
    *,
    recipe: RecipeLike | None = None,
    model: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    overrides: Overrides | None = None,
    ratios: Sequence[float] | None = None,
    folds: int | None = None,
    reading: ReadingOptions = ReadingOptions(),
    resources: Resources = Resources(),
    resuming: Resuming = Resuming(),
) -> TrainingEstimate:
    """The dry run of `train`: audit, split, time a batch of every stage, and write no run.

    Args:
        data, recipe, model, seed, image_size, overrides, ratios, folds: see `train`.
        reading, resources, resuming: see `train`.

    Raises:
        HolotypeError: what `train` would raise before it begins to learn.
    """
    return estimate_run(
        TrainingRequest(
            data=data, recipe=recipe, model=model, seed=seed, image_size=image_size,
            overrides=overrides, ratios=ratios, folds=folds, reading=reading, resources=resources,
            resuming=resuming,
        )
    )  # fmt: skip


def run_training(request: TrainingRequest) -> Run:
    """What `train`, the command and the demo do."""
    resuming = request.resuming
    if resuming.resume and request.output is None:
        raise UsageError("--resume goes on with a run: name it, --output RUN.")
    if not is_first_process():
        return Run(_follow(request))
    stop_signal = StopSignal(resuming.checkpoint_minutes)
    progress = replace(request.progress, check=stop_signal.raise_if_requested)
    with stop_signal.handling_sigterm(), leading_processes(_device(request)) as set_result:
        request = with_warm_start(replace(request, progress=progress))
        recipe = recipe_with_teacher(request)
        with claim_run(
            request.output, request.data_name, lambda run: resuming.resume and run.recipe.is_file()
        ) as run:
            runtime = make_runtime(request, recipe, run.checkpoints, stop_signal)
            index, job = read_and_audit(request, recipe, runtime)
            if request.folds is not None:
                train_folds(job, index, run, request.folds)
            else:
                index, job = job.split(index)
                require_trainable(index, request.reading.exclude)
                check_teacher(recipe, index)
                with naming_resume(run.path):
                    train_single_run(job, index, run, command=job.command(run))
        set_result(str(run.path))
    track_trained(run, parse_targets(request.resources.track), request.progress)
    return Run(run.path)


def _follow(request: TrainingRequest) -> str:
    """Train with the process that owns the run; returns its path when it is finished."""
    from holotype.training.finetuning.follow_stages import follow_stages

    resources = request.resources
    if resources.deterministic:
        use_deterministic_algorithms()
    return str(follow_stages(_device(request), save_memory=resources.save_memory))


def _device(request: TrainingRequest) -> str:
    """Where gradient stages train, whatever the recipe."""
    return resolve_device(request.resources.device)


def estimate_run(request: TrainingRequest) -> TrainingEstimate:
    """What `estimate` and `train --dry-run` do."""
    request = with_warm_start(request)
    recipe = recipe_with_teacher(request)
    with tempfile.TemporaryDirectory() as scratch:
        runtime = make_runtime(request, recipe, Path(scratch), StopSignal())
        runtime = replace(runtime, share=WHOLE)
        index, job = read_and_audit(request, recipe, runtime)
        return estimate_training(job, index, request.folds)


def make_runtime(
    request: TrainingRequest, recipe: Recipe, checkpoints: Path, stop_signal: StopSignal
) -> Runtime:
    """What the training runs on; what the machine lacks is refused before an image is read."""
    resources = request.resources
    is_descriptor = architecture(recipe.model).kind == "classical"
    device = "cpu" if is_descriptor else resolve_device(resources.device)
    find_weights(recipe.model, recipe.weights, recipe.model_options)
    budget = disk_budget(resources.disk_budget)
    if resources.deterministic and not is_descriptor:
        use_deterministic_algorithms()
    return Runtime(
        device, checkpoints, request.progress, save_memory=resources.save_memory, budget=budget,
        stop_signal=stop_signal, share=process_share(),
    )  # fmt: skip


def read_and_audit(
    request: TrainingRequest, recipe: Recipe, runtime: Runtime
) -> tuple[Index, TrainingJob]:
    """The images that can be trained on, and the job with the audit of all."""
    reading, progress = request.reading, request.progress
    if reading.exclude is not None:
        confirmed_rows(Path(reading.exclude))
    if reading.relabel is not None:
        new_labels(Path(reading.relabel))
    tables = table_digests(reading)
    index = read_index(
        request.data, label_pattern=reading.label_pattern,
        group_pattern=reading.group_pattern, label_prefix=reading.label_prefix,
    )  # fmt: skip
    progress.log_all(index.reading_notes())
    require_classes(index)
    if reading.exclude is not None:
        exclude_images(index, reading.exclude)
    if reading.relabel is not None:
        relabel_images(index, reading.relabel)
    progress.log(f"{index.size_summary} in {index.root}")
    check_stages(recipe, runtime.device)
    with progress.bar("auditing") as update:
        bits = None if recipe.bits == "auto" else recipe.bits
        findings = audit(
            index, bits=bits, tolerate_truncated=recipe.tolerate_truncated, on_progress=update
        )
    progress.log_all(warning_notes(findings.warnings))
    progress.log_all(findings.similar_class_notes())
    if findings.unused_range:
        is_told = findings.significant_bits < FULL_BITS
        progress.log(f"{'' if is_told else 'warning: '}{findings.unused_range}")
    recipe = recipe.with_bits(findings.significant_bits)
    audited = Audit(index, findings, request.data_name)
    job = TrainingJob(request, recipe, runtime, audited, tables=tables)
    return drop_unreadable(index, findings, progress), job
