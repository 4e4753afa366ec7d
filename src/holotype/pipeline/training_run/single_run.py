"""One run on an index that is split: train, ship, and read the test split once."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import describe_missing_classes, parts_of
from holotype.errors import DatasetError
from holotype.evaluation.build_report import build_report
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.report_data import Report
from holotype.explanation.example_selection import select_examples
from holotype.pipeline.training_run.class_weight_report import measure_class_weighting
from holotype.pipeline.training_run.conformal_and_ood import prediction_set_scores
from holotype.pipeline.training_run.excluded_images import exclude_and_log, exclusion_notes
from holotype.pipeline.training_run.finalize import require_validation, train_and_seal
from holotype.pipeline.training_run.group_leakage_report import measure_group_leakage
from holotype.pipeline.training_run.resume import (
    is_finished,
    remove_partial_output,
    require_same_inputs,
)
from holotype.pipeline.training_run.training_job import (
    TrainingJob,
    record_training_cost,
    write_environment,
)
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.reporting.model_card import write_model_card
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import write_report
from holotype.run_directory import RunDirectory
from holotype.training.train_stages import TrainedModel


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        metrics: the report on the test part, or on validation where test has no images.
        findings: of the audit.
    """

    run: RunDirectory
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


def train_single_run(
    job: TrainingJob, index: "Index", run: RunDirectory, *, command: str, is_fold: bool = False
) -> "Report":
    """One run on an index that is split: train, ship, and read the test part once.

    Args:
        run: created, and held by this process.
        command: what repeats it.
        is_fold: whether it is one of several, whose parent holds the audit and says what a split
            that ignores the groups would claim.
    """
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


def finished_report(run: RunDirectory) -> "Report":
    """The report of a run that has been at its end before, from its predictions."""
    part = "test" if (run.predictions / "test.parquet").is_file() else "val"
    return build_report(read_predictions(run.predictions / f"{part}.parquet"), part=part)


def predict_part(
    part: Literal["val", "test"],
    index: "Index",
    bundle: "Bundle",
    run: RunDirectory,
    progress: Progress,
) -> "Predictions | None":
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
    index: "Index",
    run: RunDirectory,
    bundle: "Bundle",
    trained: "TrainedModel",
    *,
    command: str,
    original_weights: dict[str, float],
    group_leakage: "GroupLeakage | None",
) -> "Report":
    """The first and only look at test, and what it says, written down."""
    validation = predict_part("val", index, bundle, run, job.progress)
    test = predict_part("test", index, bundle, run, job.progress)
    reported = test if test is not None else validation
    part: Literal["val", "test"] = "test" if test is not None else "val"
    assert reported is not None  # see `_require_a_part_to_report`
    notes = [*job.notes]
    if test is None:
        notes.append("The test part has no images: this is validation, which chose the model.")
    report = job.with_caveats(build_report(reported, part=part))
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
        prediction_sets=prediction_set_scores(bundle, test),
        class_weighting=measure_class_weighting(report, reported, trained.emphasis_C),
    )
    validation_report = build_report(validation, part="val") if validation is not None else None
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
