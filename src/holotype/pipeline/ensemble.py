"""Several runs -> one: weights from validation, a temperature on top, and test read once.

    runs/a, runs/b@frozen ─► admission ─► weights ─► bundle of members ─► predictions ─► report

What validation decides is decided before test is read: the method, the weights, the temperature,
and the member that the ensemble has to beat. Test then makes that one comparison. Cross-validated
runs have no validation; there the same is decided out of fold.
"""

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import predict
from holotype.comparison.aligned_predictions import align_predictions
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import parts_of
from holotype.ensembles.compatibility import Member, load_members
from holotype.ensembles.ensemble_recipe import EnsembleRecipe, MemberRecipe, read_ensemble_recipe
from holotype.ensembles.ensemble_weights import EnsembleMethod
from holotype.ensembles.fit_ensemble import (
    FittedEnsemble,
    MemberPredictions,
    assign_held_out_folds,
    fit,
)
from holotype.ensembles.gain import BestMemberComparison, gain_over, measure_images_per_second
from holotype.errors import DatasetError, NotComparable
from holotype.evaluation.build_report import build_report
from holotype.evaluation.post_hoc_calibration import fit_decision
from holotype.evaluation.report_data import Report
from holotype.explanation.example_selection import select_examples
from holotype.files import write_json
from holotype.pipeline.training_run.conformal_and_ood import (
    prediction_set_scores,
    seal_with_calibration_set,
)
from holotype.pipeline.training_run.cross_validation import OUT_OF_FOLD
from holotype.pipeline.training_run.single_run import predict_part
from holotype.pipeline.training_run.training_job import (
    record_training_cost,
    total_training_seconds,
    write_environment,
)
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.reporting.model_card import write_model_card
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import write_report
from holotype.run_directory import RunDirectory, next_run_path

if TYPE_CHECKING:
    import pandas as pd


VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class EnsembleRun:
    """What `ensemble` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        recipe: members, method and weights.
        metrics: the report on test, or on held-out parts where there is no test.
        comparison: whether it beats its best member, and what it costs.
    """

    run: RunDirectory
    recipe: "EnsembleRecipe"
    metrics: "Report"
    comparison: "BestMemberComparison"

    def summary(self) -> dict[str, Any]:
        """For `--json`: where things are, and the numbers."""
        return {
            "run": str(self.run.path),
            "bundle": str(self.run.bundle),
            "report": str(self.run.report / "index.html"),
            "recipe": asdict(self.recipe),
            "comparison": self.comparison.to_json(),
            "metrics": self.metrics.to_json(),
        }


def build_ensemble(
    runs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    method: "Literal['auto'] | EnsembleMethod" = "auto",
    progress: Progress | None = None,
) -> EnsembleRun:
    """One classifier from several runs, with a report that says whether it is worth its cost.

    Args:
        runs: `RUN` or `RUN@STAGE`, at least two, trained on one split of the same images;
            their image sizes and preprocessing may differ.
        output: the run directory; `runs/NAME-ensemble-1`, `-2`, … unless said otherwise.
        method: of `ensembles.ensemble_weights`; `auto`: the best of them on held-out images.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    progress = progress or Progress()
    members = load_members(runs)
    name = members[0].bundle.manifest.name
    run = RunDirectory.new(output or next_run_path(f"{name}-ensemble"))
    with run.create():
        progress = replace(progress, log_file=run.log)
        member_predictions = _predict_with_members(members, progress)
        fitted = fit(member_predictions, None if method == "auto" else method)
        recipe = _recipe(members, member_predictions, fitted, requested_method=method)
        index = _union_index(members)
        _write_inputs(run, recipe, index, members)
        progress.log(f"{recipe.method}: {_weights(recipe)}")
        bundle = _seal_bundle(members, member_predictions, fitted, run, name, progress)
        report, comparison = _compare_and_report(
            members, member_predictions, fitted, bundle, index, run, progress
        )
    return EnsembleRun(run, recipe, report, comparison)


def _predict_with_members(members: "Sequence[Member]", progress: Progress) -> "MemberPredictions":
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
        member.name: _predict(images, member.bundle, f"validation by {member.name}", progress)
        for member in members
    }
    answers = align_predictions(predictions_by_member, VALIDATION)
    return MemberPredictions(
        answers, assign_held_out_folds(images, answers.first.ids, _duplicate_groups(first, images))
    )


def _predict(images: "Index", bundle: "Bundle", what: str, progress: Progress) -> "Predictions":
    with progress.bar(what) as update:
        predictions, refused = predict(
            bundle, images, on_progress=lambda done: update(done, len(images))
        )
    if refused:
        raise DatasetError(f"an image that the members know cannot be read now: {refused[0]}")
    return predictions


def _duplicate_groups(member: "Member", images: "Index") -> list[frozenset[str]]:
    """What shows one image: files of equal bytes, and the copies that its audit has verified."""
    table = images.table
    equal = [frozenset(rows["path"]) for _, rows in table.groupby("sha256") if len(rows) > 1]
    run = member.run
    for audit in (run.audit, run.path.parent.parent / "audit"):  # of a stage or fold: its run's
        if (audit / "audit.json").is_file():
            told = json.loads((audit / "audit.json").read_text(encoding="utf-8"))
            return [*equal, *(frozenset(paths) for paths in told.get("duplicate_clusters", []))]
    return equal


def _recipe(
    members: "Sequence[Member]",
    member_predictions: "MemberPredictions",
    fitted: "FittedEnsemble",
    *,
    requested_method: str,
) -> "EnsembleRecipe":
    classes = members[0].bundle.classes
    equal_CM = np.full((len(classes), len(fitted.members)), 1 / len(fitted.members))
    weights_CM = equal_CM if fitted.weights_CM is None else fitted.weights_CM
    return EnsembleRecipe(
        name=members[0].bundle.manifest.name,
        requested_method=requested_method,
        method=fitted.method,
        fitted_on=OUT_OF_FOLD if members[0].is_cross_validated else VALIDATION,
        best_member=members[member_predictions.best].name,
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


def _union_index(members: "Sequence[Member]") -> "Index":
    """The images of the first member, and those that only another learnt from.

    Whoever takes the ensemble for a member must know all that it has seen.
    """
    import pandas as pd

    first = members[0].index
    tables, known = [first.table], set(first.table["sha256"])
    for member in members[1:]:
        table = member.index.table
        rows = table[table["sha256"].isin(member.training_hashes - known)]
        known |= set(rows["sha256"])
        tables.append(_relative_to(first.root, member.index, rows))
    table = pd.concat(tables).drop_duplicates("path").sort_values("path", ignore_index=True)
    return replace(first, table=table)


def _relative_to(root: Path, index: "Index", rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows with paths relative to another folder."""
    if index.root == root:
        return rows
    moved = [Path(os.path.relpath(index.file(path), root)).as_posix() for path in rows["path"]]
    return rows.assign(path=moved)


def _write_inputs(
    run: RunDirectory, recipe: "EnsembleRecipe", index: "Index", members: "Sequence[Member]"
) -> None:
    """What is known before anything is predicted; its training took what its members' took."""
    run.write_recipe(recipe.to_yaml())
    index.write(run.index)
    write_environment(run, "cpu")
    timed = all(member.run.environment.is_file() for member in members)
    seconds, resumed = (
        total_training_seconds([member.run for member in members]) if timed else (None, False)
    )
    record_training_cost(run, seconds, resumed=resumed)
    audit = members[0].run.audit
    if audit.is_dir():
        shutil.copytree(audit, run.audit)


def _seal_bundle(
    members: "Sequence[Member]",
    member_predictions: "MemberPredictions",
    fitted: "FittedEnsemble",
    run: RunDirectory,
    name: str,
    progress: Progress,
) -> "Bundle":
    """The members as one bundle, with the temperature that its own predictions ask for."""
    chosen = [members[number].bundle for number in fitted.members]
    bundle = write_members(run.bundle, chosen, name=name, weights_CM=fitted.weights_CM)
    if members[0].is_cross_validated:
        row_of = {path: row for row, path in enumerate(fitted.held_out.ids)}
        rows = [row_of[path] for path in members[0].index.table["path"] if path in row_of]
        out_of_fold = fitted.held_out.select(np.array(rows, np.int64))
        out_of_fold.write(run.predictions / "oof.parquet")
        return seal_with_calibration_set(
            bundle, fit_decision(out_of_fold), members[0].index, out_of_fold=out_of_fold
        )
    predictions = _predict(members[0].index.part("val"), bundle, VALIDATION, progress)
    bundle = seal_with_calibration_set(bundle, fit_decision(predictions), members[0].index)
    predict_part("val", members[0].index, bundle, run, progress)
    return bundle


def _compare_and_report(
    members: "Sequence[Member]",
    member_predictions: "MemberPredictions",
    fitted: "FittedEnsemble",
    bundle: "Bundle",
    index: "Index",
    run: RunDirectory,
    progress: Progress,
) -> "tuple[Report, BestMemberComparison]":
    """The first and only look at test, and what it says, written down."""
    best = members[member_predictions.best]
    part = OUT_OF_FOLD if best.is_cross_validated else "val"
    best_predictions = member_predictions.answers.predictions[member_predictions.best]
    held_out = gain_over(
        fitted.held_out, best_predictions,
        f"{OUT_OF_FOLD if best.is_cross_validated else VALIDATION}, weights held out",
    )  # fmt: skip
    test = predict_part("test", members[0].index, bundle, run, progress)
    if test is None:
        reported, gain = fitted.held_out, held_out
    else:
        alone = _predict(members[0].index.part("test"), best.bundle, "the best member", progress)
        reported, part, gain = test, "test", gain_over(test, alone, "test")
    files = [members[0].index.file(path) for path in reported.ids]
    with progress.bar("measuring the speed"):
        comparison = BestMemberComparison(
            best_member=best.name,
            reported=gain,
            held_out=held_out,
            images_per_second=measure_images_per_second(bundle, files),
            best_member_images_per_second=measure_images_per_second(best.bundle, files),
        )
    report = build_report(reported, part=part)
    write_json(run.report / "best_member_comparison.json", comparison.to_json())
    _write_report(report, reported, comparison, bundle, index, run, progress)
    return report, comparison


def _write_report(
    report: "Report",
    reported: "Predictions",
    comparison: "BestMemberComparison",
    bundle: "Bundle",
    index: "Index",
    run: RunDirectory,
    progress: Progress,
) -> None:
    recipe = read_ensemble_recipe(run.recipe)
    assert recipe is not None
    progress.log("writing the report")
    context = ReportContext(
        title=run.path.name,
        run_name=run.path.name,
        model=bundle.manifest.model,
        recipe=f"ensemble ({recipe.method})",
        data=f"{index.size_summary} in {index.root}",
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        audit=None,
        notes=_notes(recipe, comparison, has_test=report.part == "test"),
        bundle_hash=bundle.sha256,
        temperature=bundle.temperature,
        command=_command(recipe, run),
        prediction_sets=prediction_set_scores(bundle, reported if report.part == "test" else None),
    )
    validation_file = run.predictions / "val.parquet"
    validation = (
        build_report(read_predictions(validation_file), part="val")
        if validation_file.is_file()
        else None
    )
    write_model_card(
        run, report, context=context, bundle=bundle, index=index, validation=validation
    )
    # Last: the page is what says that the run is finished.
    write_report(
        report, run.report, predictions=reported, context=context,
        examples=select_examples(bundle, index, reported), validation=validation,
    )  # fmt: skip


def _notes(
    recipe: "EnsembleRecipe", comparison: "BestMemberComparison", *, has_test: bool
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
    how = f"Weights ({recipe.method}, fitted on {recipe.fitted_on}): {_weights(recipe)}."
    if recipe.losses:
        tried = ", ".join(f"{name} {loss:.4f}" for name, loss in recipe.losses.items())
        how += f" Log loss on held-out images: {tried}."
    if recipe.dropped_runs:
        how += f" Left out, since they weigh nothing: {', '.join(recipe.dropped_runs)}."
    return [*notes, how]


def _weights(recipe: "EnsembleRecipe") -> str:
    return ", ".join(f"{member.run} {member.weight_text}" for member in recipe.members)


def _command(recipe: "EnsembleRecipe", run: RunDirectory) -> str:
    runs = [*(member.run for member in recipe.members), *recipe.dropped_runs]
    options = ["--output", str(run.path), "--method", recipe.requested_method]
    return shlex.join(["holotype", "ensemble", *runs, *options])
