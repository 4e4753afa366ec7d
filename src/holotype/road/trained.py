"""Images -> index -> audit -> split -> train -> bundle -> predictions -> report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from holotype.errors import DatasetError
from holotype.narration import Progress
from holotype.road.audited import AuditResult
from holotype.road.order import Published, TrainingJob, record_training_cost, write_environment
from holotype.road.promised import evaluate_prediction_sets
from holotype.road.rehearsed import DryRun, estimate_training
from holotype.road.resumed import (
    is_finished,
    remove_partial_output,
    require_same_inputs,
    run_to_resume,
)
from holotype.road.shipped import require_validation, train_and_seal
from holotype.road.usable import drop_unreadable
from holotype.run import Run, next_run_path

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.dataset.findings import Findings
    from holotype.dataset.index import Index
    from holotype.dataset.leaks import OnLeak
    from holotype.evaluation.flattery import GroupLeakage
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions
    from holotype.training.train import TrainedModel
    from holotype.training.watch import StopSignal


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        metrics: the report on the test part, or on validation where test has no images.
        findings: of the audit.
    """

    run: Run
    metrics: "Report"
    findings: "Findings"

    def summary(self) -> dict[str, Any]:
        """For `--json`: where things are, and the numbers."""
        return {
            "run": str(self.run.path),
            "bundle": str(self.run.bundle),
            "report": str(self.run.report / "index.html"),
            "refused": sorted(self.findings.unusable_paths),
            "metrics": self.metrics.to_json(),
        }


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
    from holotype.dataset.audit import audit
    from holotype.dataset.combined import source_name
    from holotype.dataset.exclusion import confirmed_rows, paths_not_in_index
    from holotype.dataset.index import read_index, require_classes
    from holotype.models.catalog import architecture
    from holotype.models.weights import find_weights
    from holotype.training.device import resolve_device, use_deterministic_algorithms
    from holotype.training.disk import disk_budget as read_disk_budget
    from holotype.training.recipe import resolve_recipe

    progress = progress or Progress()
    if init_from is not None:
        from holotype.road.begun import read_warm_start

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
    run = run_to_resume(path) if resume else Run.new(path)
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
    audit_result = AuditResult(index, findings, name)
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
        from holotype.road.folded import train_folds

        return train_folds(job, index, run, folds)
    return _train_single_split(job, index, run)


def _train_single_split(job: TrainingJob, index: "Index", run: Run) -> TrainedRun:
    """One split, one classifier."""
    index, job = job.split(index)
    with run.create():
        report = train_single_run(job, index, run, command=job.command(run))
    return TrainedRun(run, report, job.findings)


def train_single_run(
    job: TrainingJob, index: "Index", run: Run, *, command: str, is_fold: bool = False
) -> "Report":
    """One run on an index that is split: train, ship, and read the test part once.

    Args:
        run: created, and held by this process.
        command: what repeats it.
        is_fold: whether it is one of several, whose parent holds the audit and says what a split
            that ignores the groups would claim.
    """
    from holotype.dataset.split import describe_missing_classes
    from holotype.road.flattered import measure_group_leakage
    from holotype.road.left_out import exclude_and_log

    progress = replace(job.progress, log_file=run.log)
    index, original_weights = exclude_and_log(index, job.exclude, job.progress)
    is_resuming = run.recipe.is_file()
    if job.resume:
        require_same_inputs(run, job.recipe, index)
        if is_finished(run):
            progress.log(f"{run.path} is finished already; nothing was done again")
            return job.with_caveats(finished_report(run))
        remove_partial_output(run)
    missing_class_notes = describe_missing_classes(index, ratios=job.recipe.split.ratios)
    # Before anything is written: the same command should do once its cause is removed.
    require_validation(job.recipe, index)
    _require_a_part_to_report(index, missing_class_notes)
    for line in missing_class_notes:
        progress.log(line)
    run.write_recipe(job.recipe.to_yaml())
    index.write(run.index)
    if not is_fold:
        job.audit_result.write(run.audit)
    write_environment(run, job.device)
    began = time.monotonic()
    trained, bundle = train_and_seal(job, index, run, progress)
    record_training_cost(run, time.monotonic() - began, resumed=is_resuming)
    return _report(
        replace(job, progress=progress, notes=[*job.notes, *missing_class_notes]),
        index, run, bundle, trained, command=command, original_weights=original_weights,
        group_leakage=None if is_fold else measure_group_leakage(job, index),
    )  # fmt: skip


def _require_a_part_to_report(index: "Index", missing_class_notes: Sequence[str]) -> None:
    """
    Raises:
        DatasetError: neither validation nor test has an image.
    """
    if set(index.table["split"]) & {"val", "test"}:
        return
    advice = "Add images, or change --ratios."
    raise DatasetError(
        " ".join(
            [
                "neither validation nor test would have an image to report on.",
                *missing_class_notes,
                advice,
            ]
        )
    )


def finished_report(run: Run) -> "Report":
    """The report of a run that has been at its end before, from its predictions."""
    from holotype.evaluation.report import evaluate
    from holotype.predictions import read_predictions

    part = "test" if (run.predictions / "test.parquet").is_file() else "val"
    return evaluate(read_predictions(run.predictions / f"{part}.parquet"), part=part)


def predict_part(
    part: Literal["val", "test"], index: "Index", bundle: "Bundle", run: Run, progress: Progress
) -> "Predictions | None":
    """Predictions of one part, written; None where it has no images."""
    from holotype.bundle.inference import predict

    images = index.part(part)
    if len(images) == 0:
        return None
    with progress.bar(f"predicting {part}") as update:
        predictions, refused = predict(
            bundle, images, on_progress=lambda done: update(done, len(images))
        )
    if refused:
        raise DatasetError(f"an image became unreadable while training ran: {refused[0]}")
    predictions.write(run.predictions / f"{part}.parquet")
    return predictions


def _report(
    job: TrainingJob,
    index: "Index",
    run: Run,
    bundle: "Bundle",
    trained: "TrainedModel",
    *,
    command: str,
    original_weights: dict[str, float],
    group_leakage: "GroupLeakage | None",
) -> "Report":
    """The first and only look at test, and what it says, written down."""
    from dataclasses import asdict

    from holotype.dataset.split import parts_of
    from holotype.evaluation.card import write_model_card
    from holotype.evaluation.report import ReportContext, evaluate, write_report
    from holotype.explanation.gallery import select_examples
    from holotype.road.left_out import exclusion_notes
    from holotype.road.weighed import measure_class_weighting

    validation = predict_part("val", index, bundle, run, job.progress)
    test = predict_part("test", index, bundle, run, job.progress)
    reported = test if test is not None else validation
    part: Literal["val", "test"] = "test" if test is not None else "val"
    assert reported is not None  # see `_require_a_part_to_report`
    notes = [*job.notes]
    if test is None:
        notes.append("The test part has no images: this is validation, which chose the model.")
    report = job.with_caveats(evaluate(reported, part=part))
    notes += exclusion_notes(report, reported, original_weights)
    job.progress.log("writing the report")
    context = ReportContext(
        title=run.path.name,
        run_name=run.path.name,
        model=job.recipe.model,
        recipe=job.recipe.name,
        data=f"{index.size_summary} in {job.data}",
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        audit=job.findings.summary_rows(),
        notes=[*notes, *trained.notes],
        bundle_hash=bundle.sha256,
        temperature=bundle.temperature,
        command=command,
        published=job.published,
        group_leakage=group_leakage,
        prediction_sets=evaluate_prediction_sets(bundle, test),
        class_weighting=measure_class_weighting(report, reported, trained.emphasis_C),
    )
    validation_report = evaluate(validation, part="val") if validation is not None else None
    write_model_card(
        run, report, context=context, bundle=bundle, index=index, validation=validation_report,
        seeds=job.seeds,
    )  # fmt: skip
    # Last: the page is what says that the run is finished.
    write_report(
        report, run.report, predictions=reported, context=context,
        examples=select_examples(bundle, index.part(part), reported),
        history=[asdict(row) for row in trained.history],
        validation=validation_report,
    )  # fmt: skip
    return report
