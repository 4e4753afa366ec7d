"""Compare an ensemble with its best member, and write its report.

The method, the weights, the temperature and the member to beat are decided before test is read;
test makes that one comparison.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import parts_of
from holotype.ensembles.compatibility import Member
from holotype.ensembles.ensemble_recipe import OUT_OF_FOLD, EnsembleRecipe, read_ensemble_recipe
from holotype.ensembles.fit_ensemble import FittedEnsemble, MemberPredictions
from holotype.ensembles.gain import (
    BEST_MEMBER_COMPARISON,
    BestMemberComparison,
    gain_over,
    measure_images_per_second,
    read_best_member_comparison,
)
from holotype.ensembles.joint_index import joint_index
from holotype.errors import DatasetError, NotARun
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import Report
from holotype.files import write_json
from holotype.pipeline.training_run.run_report import ScoredBundle, report_run
from holotype.pipeline.training_run.single_run import predict_part
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.reporting.report_page import ReportContext
from holotype.run_directory import RunDirectory

VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class EnsembleJob:
    """An ensemble before its bundle is written.

    Attributes:
        members: the runs, in the order in which they were named.
        answers: the predictions of each member on images that none of them learnt from.
        fitted: the weights, and the ensemble's own predictions with weights held out.
        recipe: what is written as recipe.yaml.
        run: the directory.
    """

    members: Sequence[Member]
    answers: MemberPredictions
    fitted: FittedEnsemble
    recipe: EnsembleRecipe
    run: RunDirectory
    progress: Progress

    @cached_property
    def index(self) -> Index:
        """Every image that a member has seen."""
        return joint_index(self.members)

    @property
    def best(self) -> Member:
        """The member to beat."""
        return self.members[self.answers.best]


def predict_all(images: Index, bundle: Bundle, what: str, progress: Progress) -> Predictions:
    """The predictions of a bundle; every image must be readable."""
    with progress.bar(what) as update:
        predictions = predict_index(
            bundle, images, on_progress=lambda done: update(done, len(images))
        )
    if predictions.refused:
        raise DatasetError(
            f"an image that the members know cannot be read now: {predictions.refused[0]}"
        )
    return predictions


def report_ensemble(job: EnsembleJob, bundle: Bundle) -> None:
    """Compare the ensemble with its best member, read test once, and write the report."""
    index, best = job.members[0].index, job.best
    fitted_on = OUT_OF_FOLD if best.is_cross_validated else VALIDATION
    held_out = gain_over(
        job.fitted.held_out, job.answers.aligned.predictions[job.answers.best],
        f"{fitted_on}, weights held out",
    )  # fmt: skip
    test = predict_part("test", index, bundle, job.run, job.progress)
    if test is None:
        reported, gain = job.fitted.held_out, held_out
    else:
        alone = predict_all(index.part("test"), best.bundle, "the best member", job.progress)
        reported, gain = test, gain_over(test, alone, "test")
    files = [index.file(path) for path in reported.ids]
    with job.progress.busy("measuring the speed"):
        comparison = BestMemberComparison(
            best_member=best.name,
            reported=gain,
            held_out=held_out,
            images_per_second=measure_images_per_second(bundle, files),
            best_member_images_per_second=measure_images_per_second(best.bundle, files),
            only_member=job.recipe.only_member,
        )
    part = "test" if test is not None else OUT_OF_FOLD if best.is_cross_validated else "val"
    report = build_report(reported, part=part)
    write_json(job.run.report / BEST_MEMBER_COMPARISON, comparison.to_json())
    _write_report(job, bundle, report, reported, comparison)


def _write_report(
    job: EnsembleJob,
    bundle: Bundle,
    report: Report,
    reported: Predictions,
    comparison: BestMemberComparison,
) -> None:
    job.progress.log("writing the report")
    run, recipe, index = job.run, job.recipe, job.index
    context = ReportContext(
        title="",
        recipe=f"ensemble ({recipe.method})",
        data=f"{index.size_summary} in {index.root.name}",  # where it lies is private
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        audit=None,
        notes=_notes(recipe, comparison, has_test=report.part == "test"),
        command=_command(recipe, run),
    )
    file = run.predictions / "val.parquet"
    validation = build_report(read_predictions(file), part="val") if file.is_file() else None
    scored = ScoredBundle(
        bundle=bundle, index=index, predictions=reported, report=report, validation=validation
    )
    report_run(run, scored, context)


def read_ensemble(path: Path) -> tuple[EnsembleRecipe, BestMemberComparison]:
    """What decided the ensemble in a run directory, and what it is worth.

    Raises:
        NotARun: the run is no ensemble.
    """
    run = RunDirectory(path)
    recipe = read_ensemble_recipe(run.recipe)
    if recipe is None:
        raise NotARun(f"{str(path)!r} is the run of a training; expected one of an ensemble.")
    return recipe, read_best_member_comparison(run.report / BEST_MEMBER_COMPARISON)


def _notes(
    recipe: EnsembleRecipe, comparison: BestMemberComparison, *, has_test: bool
) -> list[str]:
    notes = [
        comparison.in_words(),
        f"Ensemble minus its best member: {comparison.reported.in_words()}.",
    ]
    if has_test:
        notes.append(f"The same before test was read: {comparison.held_out.in_words()}.")
    else:
        notes.append(
            "No image was kept for a test: weights and temperature for each fold come "
            "from the other folds; what ships has them from all, and so do the heatmaps."
        )
    how = f"Weights ({recipe.method}, fitted on {recipe.fitted_on}): {recipe.weights_text}."
    if recipe.losses:
        tried = ", ".join(f"{name} {loss:.4f}" for name, loss in recipe.losses.items())
        how += f" Log loss on held-out images: {tried}."
    if recipe.dropped_runs:
        how += f" Left out, since they weigh nothing: {', '.join(recipe.dropped_runs)}."
    return [*notes, how]


def _command(recipe: EnsembleRecipe, run: RunDirectory) -> str:
    runs = [*(member.run for member in recipe.members), *recipe.dropped_runs]
    options = ["--output", str(run.path), "--method", recipe.requested_method]
    return shlex.join(["holotype", "ensemble", *runs, *options])
