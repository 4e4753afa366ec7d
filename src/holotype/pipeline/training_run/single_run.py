"""One run on an index that is split: train, ship, and read the test split once."""

import time
from dataclasses import replace
from typing import Literal

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import describe_missing_classes, parts_of
from holotype.errors import DatasetError
from holotype.evaluation.build_report import build_report
from holotype.evaluation.symmetry_effect import symmetry_effects
from holotype.pipeline.training_run.class_weight_report import (
    class_weights,
    measure_class_weighting,
)
from holotype.pipeline.training_run.excluded_images import (
    exclude_and_log,
    exclusion_notes,
    relabel_notes,
)
from holotype.pipeline.training_run.group_leakage_report import measure_group_leakage
from holotype.pipeline.training_run.resume import begin_run, is_finished
from holotype.pipeline.training_run.run_report import ScoredBundle, report_run
from holotype.pipeline.training_run.train_and_seal import require_validation, train_and_seal
from holotype.pipeline.training_run.training_job import (
    TrainingJob,
    record_training_cost,
)
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.reporting.report_page import ReportContext
from holotype.run_directory import RunDirectory
from holotype.training.train_stages import TrainedModel

_WITHOUT_VALIDATION = (
    "Without validation images nothing is fitted that makes probabilities right, and ensembles and "
    "the registry refuse the run: give validation images, or a larger share by --ratios."
)


def train_single_run(
    job: TrainingJob, index: Index, run: RunDirectory, *, command: str, is_fold: bool = False
) -> None:
    """One run on an index that is split: train, ship, and read the test part once.

    Args:
        run: created, and held by this process.
        command: what repeats it.
        is_fold: whether it is one of several, whose parent holds the audit and says what a split
            that ignores the groups would claim.
    """
    index, original_weights = exclude_and_log(index, job.request.reading.exclude, job.progress)
    missing_class_notes = describe_missing_classes(index, ratios=job.recipe.split.ratios)
    if not is_fold and not len(index.part("val")):
        missing_class_notes.append(_WITHOUT_VALIDATION)
    # Before anything is written: the same command should do once its cause is removed. A run that
    # an earlier version finished stays finished, whatever is asked of new ones.
    if not (job.request.resuming.resume and is_finished(run)):
        require_validation(job.recipe, index)
    job = job.in_run(run).with_history(run)
    job = replace(job, notes=[*job.notes, *missing_class_notes])
    is_resuming = run.recipe.is_file()
    if not begin_run(job, index, run, is_fold=is_fold):
        return
    if job.unseen is not None and len(job.unseen):
        job.unseen.write(run.unseen)
    job.progress.log_all(missing_class_notes)
    began = time.monotonic()
    trained, bundle = train_and_seal(job, index, run)
    record_training_cost(run, time.monotonic() - began, resumed=is_resuming)
    context = job.report_context(
        index, command, group_leakage=None if is_fold else measure_group_leakage(job, index)
    )
    _report(job, index, run, bundle, trained, context, original_weights)


def predict_part(
    part: Literal["val", "test"],
    index: Index,
    bundle: Bundle,
    run: RunDirectory,
    progress: Progress,
) -> Predictions | None:
    """Predictions of one part, written; None where it has no images."""
    images = index.part(part)
    if len(images) == 0:
        return None
    with progress.bar(f"predicting {part}") as update:
        predictions = predict_index(
            bundle, images, on_progress=lambda done: update(done, len(images))
        )
    if predictions.refused:
        raise DatasetError(
            f"an image became unreadable while training ran: {predictions.refused[0]}"
        )
    predictions.write(run.predictions / f"{part}.parquet")
    return predictions


def _report(
    job: TrainingJob,
    index: Index,
    run: RunDirectory,
    bundle: Bundle,
    trained: TrainedModel,
    context: ReportContext,
    original_weights: dict[str, float],
) -> None:
    """Predict validation, then test for the first and only time, and write the report.

    Args:
        context: with the command and the group leakage; the rest is added here.
        original_weights: of the excluded images; see `exclusion_notes`.
    """
    validation = (
        read_predictions(run.predictions / "val.parquet")  # of what did not learn from it
        if bundle.trained_on_validation
        else predict_part("val", index, bundle, run, job.progress)
    )
    test = predict_part("test", index, bundle, run, job.progress)
    reported = test if test is not None else validation
    assert reported is not None  # see `require_validation`
    notes = [*job.request.notes, *job.notes]
    if test is None:
        notes.append("The test part has no images: this is validation, which chose the model.")
    report = job.with_caveats(build_report(reported, part="val" if test is None else "test"))
    left_out = exclusion_notes(report, reported, original_weights)
    job.progress.log_all(left_out)
    notes += [*left_out, *relabel_notes(report, reported, job.labels_before), *trained.notes]
    scored = ScoredBundle(
        bundle=bundle, index=index, predictions=reported, report=report,
        validation=None if validation is None else build_report(validation, part="val"),
    )  # fmt: skip
    context = replace(
        context,
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        notes=notes,
        class_weighting=measure_class_weighting(report, reported, class_weights(bundle)),
        symmetry=symmetry_effects(trained.symmetry) if trained.symmetry else (),
    )
    with job.progress.busy("writing the report"):
        report_run(run, scored, context, history=trained.history, seeds=job.seeds)
