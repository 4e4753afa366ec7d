"""Make one classifier of several runs: weights from validation, then test, once.

    runs/a, runs/b@frozen ─► admission ─► weights ─► bundle of members ─► predictions ─► report

What validation decides is decided before test is read: the method, the weights, the temperature,
and the member that the ensemble has to beat. Test then makes that one comparison. Cross-validated
runs have no validation; there the same is decided out of fold.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle
from holotype.comparison.aligned_predictions import align_predictions
from holotype.dataset.index import Index
from holotype.ensembles.compatibility import Member, load_members
from holotype.ensembles.ensemble_recipe import (
    OUT_OF_FOLD,
    EnsembleRecipe,
    MemberRecipe,
    read_ensemble_recipe,
)
from holotype.ensembles.ensemble_weights import METHODS, EnsembleMethod
from holotype.ensembles.fit_ensemble import (
    FittedEnsemble,
    MemberPredictions,
    assign_held_out_folds,
    fit,
)
from holotype.errors import NotComparable, UsageError, require_one_of
from holotype.evaluation.fit_decision import fit_decision
from holotype.extras import with_install_advice
from holotype.files import write_bytes, write_json
from holotype.pipeline.cleaning.written_files import files_of_others
from holotype.pipeline.compared.compared_runs import held_out_file
from holotype.pipeline.ensemble_report import (
    VALIDATION,
    EnsembleJob,
    predict_all,
    report_ensemble,
)
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.calibrate import seal
from holotype.pipeline.training_run.single_run import predict_part
from holotype.pipeline.training_run.training_job import (
    record_training_cost,
    total_training_seconds,
    write_environment,
)
from holotype.predictions import read_predictions
from holotype.progress import Progress, default_progress
from holotype.registry.resolve_registered import registered_path
from holotype.run_directory import RunDirectory, claim_run


@with_install_advice
def ensemble(
    runs: Sequence[str | os.PathLike[str]],
    *,
    output: str | Path | None = None,
    method: Literal["auto"] | EnsembleMethod = "auto",
    progress: Progress | None = None,
) -> Run:
    """Make one classifier of several runs, with a report that says whether it is worth its cost.

    Example:
        >>> both = holotype.ensemble(["runs/a", "runs/b"], output="runs/both")  # doctest: +SKIP
        >>> both.recipe.method  # doctest: +SKIP
        'weighted'

    Args:
        runs: `RUN` or `RUN@STAGE`, at least two, trained on one split of the same images;
            their image sizes and preprocessing may differ.
        output: the run directory; `runs/NAME-ensemble-1`, `-2`, … unless given.
        method: how members are weighted, on validation. `average`: equally; `weighted`: one weight
            each; `greedy`: chosen again and again, each time the one that helps most; `adaptive`:
            a weight for each class; `auto`: the best of these on held-out images.

    Raises:
        UsageError: fewer than two runs, or one twice.
        NotComparable: the classes or the images differ, or a member learnt from images that
            another is judged on.
        BundleError: a run has no sealed decision, or members of members.
    """
    if isinstance(runs, str | os.PathLike):
        raise UsageError(f"runs is {os.fspath(runs)!r}; expected a list of at least two runs.")
    require_one_of("method", method, ("auto", *METHODS))
    progress = progress or default_progress()
    found = load_members([os.fspath(registered_path(run)) for run in runs])
    members = [
        replace(member, name=os.fspath(run)) for member, run in zip(found, runs, strict=True)
    ]
    name = members[0].bundle.manifest.name
    with claim_run(output, f"{name}-ensemble", _is_unfinished) as files, _cleared(files):
        progress = replace(progress, log_file=files.log)
        answers = _predict_with_members(members, progress)
        fitted = fit(answers, None if method == "auto" else method)
        recipe = _recipe(members, answers, fitted, requested_method=method)
        job = EnsembleJob(members, answers, fitted, recipe, files, progress)
        _write_inputs(job)
        progress.log(f"{recipe.method}: {recipe.weights_text}")
        report_ensemble(job, _seal_bundle(job))
    return Run(files.path)


def _is_unfinished(run: RunDirectory) -> bool:
    """Whether a killed process left it: nothing of it is needed, and all of it is done again."""
    return (
        not any(files_of_others(run.path))
        and not (run.report / "index.html").exists()
        and (not run.recipe.is_file() or read_ensemble_recipe(run.recipe) is not None)
    )


@contextmanager
def _cleared(run: RunDirectory) -> Iterator[None]:
    """The directory empty at the start, and after a failure."""
    run.clear()
    try:
        yield
    except BaseException:
        run.clear()
        raise


def _predict_with_members(members: Sequence[Member], progress: Progress) -> MemberPredictions:
    """What the members say of images that none of them learnt from."""
    first = members[0]
    if first.is_cross_validated:
        predictions_by_member = {
            member.name: read_predictions(member.out_of_fold_file) for member in members
        }
        answers = align_predictions(predictions_by_member, OUT_OF_FOLD)
        fold_N = answers.first.folds_N
        for name, each in zip(answers.names, answers.predictions, strict=True):
            if (each.folds_N != fold_N).any():
                raise NotComparable(
                    f"{name!r} and {first.name!r} were cross-validated on other folds; train both "
                    "with the same --folds and --split-seed."
                )
        return MemberPredictions(answers, fold_N)
    images = first.index.part("val")
    predictions_by_member = {
        member.name: read_predictions(member.run.predictions / "val.parquet")
        if member.bundle.trained_on_validation
        else predict_all(images, member.bundle, f"validation by {member.name}", progress)
        for member in members
    }
    answers = align_predictions(predictions_by_member, VALIDATION)
    return MemberPredictions(
        answers, assign_held_out_folds(images, answers.first.ids, _duplicate_groups(first, images))
    )


def _duplicate_groups(member: "Member", images: Index) -> list[frozenset[str]]:
    """What shows one image: files of equal bytes, and the copies that its audit has verified."""
    table = images.table
    equal = [frozenset(rows["path"]) for _, rows in table.groupby("sha256") if len(rows) > 1]
    return [*equal, *member.run.duplicate_clusters()]


def _recipe(
    members: Sequence[Member],
    answers: MemberPredictions,
    fitted: FittedEnsemble,
    *,
    requested_method: str,
) -> EnsembleRecipe:
    classes = members[0].bundle.classes
    equal_CM = np.full((len(classes), len(fitted.members)), 1 / len(fitted.members))
    weights_CM = equal_CM if fitted.weights_CM is None else fitted.weights_CM
    return EnsembleRecipe(
        name=members[0].bundle.manifest.name,
        requested_method=requested_method,
        method=fitted.method,
        fitted_on=OUT_OF_FOLD if members[0].is_cross_validated else VALIDATION,
        best_member=members[answers.best].name,
        members=tuple(
            MemberRecipe(
                run=members[number].name,
                bundle=members[number].bundle.sha256,
                model=members[number].bundle.manifest.model,
                weights=dict(zip(classes, weights_C.tolist(), strict=True)),
            )
            for number, weights_C in zip(fitted.members, weights_CM.T, strict=True)
        ),
        dropped_runs=tuple(
            member.name for n, member in enumerate(members) if n not in fitted.members
        ),
        losses={str(name): loss for name, loss in fitted.losses.items()},
    )


def _write_inputs(job: EnsembleJob) -> None:
    """Recipe, index, environment, training cost (the sum of the members') and the first audit."""
    run, members = job.run, job.members
    run.write_recipe(job.recipe.to_yaml())
    job.index.write(run.index)
    write_json(run.class_names, list(job.index.classes))
    write_environment(run, "cpu")
    timed = all(member.run.environment.is_file() for member in members)
    seconds, resumed = (
        total_training_seconds([member.run for member in members]) if timed else (None, False)
    )
    record_training_cost(run, seconds, resumed=resumed)
    for file in sorted(members[0].run.audit.rglob("*")):
        if file.is_file():
            write_bytes(run.audit / file.relative_to(members[0].run.audit), file.read_bytes())


def _seal_bundle(job: EnsembleJob) -> Bundle:
    """The members as one bundle, with a temperature fitted on its own predictions."""
    first, fitted = job.members[0], job.fitted
    bundle = write_members(
        job.run.bundle, [job.members[number].bundle for number in fitted.members],
        name=job.recipe.name, weights_CM=fitted.weights_CM, unsealed=True,
    )  # fmt: skip
    if first.is_cross_validated:
        row_of = {path: row for row, path in enumerate(fitted.held_out.ids)}
        rows = [row_of[path] for path in first.index.table["path"] if path in row_of]
        out_of_fold = fitted.held_out.select(np.array(rows, np.int64))
        out_of_fold.write(job.run.predictions / "oof.parquet")
        return seal(bundle, fit_decision(out_of_fold), first.index, out_of_fold=out_of_fold)
    fitted.held_out.write(held_out_file(job.run))
    if bundle.trained_on_validation:  # the mean of what its members said before they learnt from it
        fitted.held_out.write(job.run.predictions / "val.parquet")
        return seal(bundle, fit_decision(fitted.held_out), first.index)
    predictions = predict_all(first.index.part("val"), bundle, VALIDATION, job.progress)
    bundle = seal(bundle, fit_decision(predictions), first.index)
    predict_part("val", first.index, bundle, job.run, job.progress)
    return bundle
