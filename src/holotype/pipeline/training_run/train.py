"""Images -> index -> audit -> split -> train -> bundle -> predictions -> report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from holotype.architectures.catalog import architecture
from holotype.architectures.pretrained_weights import find_weights
from holotype.dataset.auditing.exclusion import confirmed_rows, paths_not_in_index
from holotype.dataset.auditing.run_audit import audit
from holotype.dataset.index import Index, read_index, require_classes
from holotype.dataset.reading.data_source import source_name
from holotype.dataset.splitting.leakage import OnLeak
from holotype.pipeline.audit import Audit
from holotype.pipeline.training_run.cross_validation import train_folds
from holotype.pipeline.training_run.drop_unreadable import drop_unreadable
from holotype.pipeline.training_run.dry_run import DryRun, estimate_training
from holotype.pipeline.training_run.resume import (
    run_to_resume,
)
from holotype.pipeline.training_run.single_run import TrainedRun, train_single_run
from holotype.pipeline.training_run.training_job import Published, TrainingJob
from holotype.pipeline.training_run.warm_start import read_warm_start
from holotype.progress import Progress
from holotype.run_directory import RunDirectory, next_run_path
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.cache_budget import disk_budget as read_disk_budget
from holotype.training.features.device import resolve_device, use_deterministic_algorithms
from holotype.training.interruption import StopSignal


@overload
def train(
    data: str | Path | Sequence[str | Path], *, dry_run: Literal[True], **options: Any
) -> DryRun: ...


@overload
def train(
    data: str | Path | Sequence[str | Path], *, dry_run: Literal[False] = False, **options: Any
) -> TrainedRun: ...


# mypy would have all options spelled out in every overload.
def train(  # type: ignore[misc]
    data: str | Path | Sequence[str | Path],
    *,
    output: str | Path | None = None,
    model: str | None = None,
    recipe: str | Path | None = None,
    seed: int | None = None,
    weights: str | None = None,
    init_from: str | Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    overrides: Mapping[str, str] | None = None,
    ratios: Sequence[float] | None = None,
    split_seed: int | None = None,
    folds: int | None = None,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    on_leak: "OnLeak" = "keep",
    exclude: str | Path | None = None,
    device: str = "auto",
    save_memory: bool = False,
    disk_budget: str | None = None,
    deterministic: bool = False,
    resume: bool = False,
    stop_signal: "StopSignal | None" = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    published: Published = (),
    notes: Sequence[str] = (),
) -> TrainedRun | DryRun:
    """Audit, split, train, ship, and read the test part once.

    Args:
        data: a folder with one folder per class, split folders, or a CSV or Parquet table; or
            several of these.
        output: the run directory; `runs/NAME-1`, `-2`, … unless said otherwise.
        recipe: a name or a YAML file, the one that suits the model where none is named; the other
            arguments change single fields of it, see `resolve_recipe`.
        init_from: a run, or RUN@STAGE, whose weights this recipe starts from.
        folds: train as many classifiers, each tested on the images that the others share, and
            ship their mean; None trains one, on one split.
        label_pattern, group_pattern: where the file's path tells label and group.
        label_prefix: put the name of its source before each label.
        on_leak: what becomes of a split that came with the data and leaks: `refuse` it, `repair`
            it, or `keep` it and say so beside the score.
        exclude: a table such as the audit's issues.csv; what is confirmed in it, or all where it
            has no such column, trains nothing, and the score is given with and without it.
        save_memory: compute activations twice instead of holding them; the result is the same.
        disk_budget: what kept activations may take, such as `20G`.
        deterministic: refuse every operation whose result could differ from one time to the next.
        resume: go on with the run at `output` if there is one; see `resumed`.
        stop_signal: how often a state is written within an epoch, and whether to stop after a step.
        dry_run: time a batch of every stage, say what it would take, and leave no run behind.
        published: figures of others to print beside the score.
        notes: caveats to print near the score.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    progress = progress or Progress()
    if init_from is not None:
        warm_start = read_warm_start(init_from, model=model, weights=weights)
        model, weights, image_size = (
            warm_start.model,
            warm_start.weights,
            image_size or warm_start.image_size,
        )
    resolved = resolve_recipe(
        recipe, model=model, weights=weights, seed=seed, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, image_size=image_size, ratios=ratios,
        split_seed=split_seed, overrides=overrides,
    )  # fmt: skip
    # Asked first: a refusal should cost no time.
    is_descriptor = architecture(resolved.model).kind == "classical"
    resolved_device = "cpu" if is_descriptor else resolve_device(device)
    find_weights(resolved.model, resolved.weights, resolved.model_options)
    budget = read_disk_budget(disk_budget)
    if exclude is not None:
        confirmed_rows(Path(exclude))
    if deterministic and not is_descriptor:
        use_deterministic_algorithms()
    sources = [data] if isinstance(data, str | Path) else list(data)
    name = "-".join(source_name(Path(source)) for source in sources)
    path = output or next_run_path(name)
    run = run_to_resume(path) if resume else RunDirectory.new(path)
    index = read_index(
        sources, label_pattern=label_pattern, group_pattern=group_pattern,
        label_prefix=label_prefix,
    )  # fmt: skip
    require_classes(index)
    if exclude is not None:
        paths_not_in_index(index, exclude)
    progress.log(f"{index.size_summary} in {index.root}")
    with progress.bar("auditing") as update:
        findings = audit(index, on_progress=update)
    audit_result = Audit(index, findings, name)
    index = drop_unreadable(index, findings, progress)
    job = TrainingJob(
        recipe=resolved, name=name, sources=[str(source) for source in sources],
        audit_result=audit_result, device=resolved_device, progress=progress, on_leak=on_leak,
        exclude=None if exclude is None else str(exclude), save_memory=save_memory, budget=budget,
        resume=resume, stop_signal=stop_signal, published=published, notes=notes,
        data_options={
            "--label-pattern": label_pattern, "--group-pattern": group_pattern,
            "--label-prefix": label_prefix,
        },
    )  # fmt: skip
    if dry_run:
        return estimate_training(job, index, folds)
    if folds is not None:
        return train_folds(job, index, run, folds)
    return _train_single_split(job, index, run)


def _train_single_split(job: TrainingJob, index: "Index", run: RunDirectory) -> TrainedRun:
    """One split, one classifier."""
    index, job = job.split(index)
    with run.create():
        report = train_single_run(job, index, run, command=job.command(run))
    return TrainedRun(run, report, job.findings)
