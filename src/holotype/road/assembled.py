"""Several runs -> one: weights from validation, a temperature on top, and test read once.

    runs/a, runs/b@frozen ─► admission ─► weights ─► bundle of members ─► predictions ─► report

What validation decides is decided before test is read: the method, the weights, the temperature,
and the member that the ensemble has to beat. Test then makes that one comparison. Cross-validated
runs have no validation; there the same is decided out of fold.
"""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holotype.errors import DatasetError, NotComparable
from holotype.narration import Narrator
from holotype.run import Run, next_run_path

if TYPE_CHECKING:
    import pandas as pd

    from holotype.bundle.bundle import Bundle
    from holotype.dataset.index import Index
    from holotype.ensemble.admission import Member
    from holotype.ensemble.fitting import Fitted, Ground
    from holotype.ensemble.recipe import EnsembleRecipe
    from holotype.ensemble.verdict import Verdict
    from holotype.ensemble.weights import Method
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions

VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class AssembledRun:
    """What `ensemble` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        recipe: members, method and weights.
        metrics: the report on test, or on held-out parts where there is no test.
        verdict: whether it beats its best member, and what it costs.
    """

    run: Run
    recipe: "EnsembleRecipe"
    metrics: "Report"
    verdict: "Verdict"

    def summary(self) -> dict[str, Any]:
        """For `--json`: where things are, and the numbers."""
        from dataclasses import asdict

        return {
            "run": str(self.run.path),
            "bundle": str(self.run.bundle),
            "report": str(self.run.report / "index.html"),
            "recipe": asdict(self.recipe),
            "verdict": self.verdict.to_json(),
            "metrics": self.metrics.to_json(),
        }


def ensemble(
    runs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    method: "Literal['auto'] | Method" = "auto",
    narrator: Narrator | None = None,
) -> AssembledRun:
    """One classifier from several runs, with a report that says whether it is worth its cost.

    Args:
        runs: `RUN` or `RUN@STAGE`, at least two, trained on one split of the same pictures;
            their picture sizes and preprocessing may differ.
        output: the run directory; `runs/NAME-ensemble-1`, `-2`, … unless said otherwise.
        method: see `ensemble.weights`; `auto` takes the one that does best on held-out pictures.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    from holotype.ensemble.admission import admit
    from holotype.ensemble.fitting import fit

    narrator = narrator or Narrator()
    members = admit(runs)
    name = members[0].bundle.manifest.name
    run = Run.free(output or next_run_path(f"{name}-ensemble"))
    with run.create():
        narrator = replace(narrator, log=run.log)
        ground = _ground(members, narrator)
        fitted = fit(ground, None if method == "auto" else method)
        recipe = _recipe(members, ground, fitted, asked=method)
        index = _joined(members)
        _write_start(run, recipe, index, members)
        narrator.say(f"{recipe.method}: {_weights(recipe)}")
        bundle = _sealed(members, ground, fitted, run, name, narrator)
        report, verdict = _judged(members, ground, fitted, bundle, index, run, narrator)
    return AssembledRun(run, recipe, report, verdict)


def _ground(members: "Sequence[Member]", narrator: Narrator) -> "Ground":
    """What the members say of pictures that none of them learnt from."""
    from holotype.comparison.answers import same_pictures
    from holotype.ensemble.fitting import Ground, fold_numbers
    from holotype.predictions import read_predictions

    first = members[0]
    if first.is_folded:
        from holotype.road.folded import OUT_OF_FOLD

        said = {member.name: read_predictions(member.out_of_fold) for member in members}
        answers = same_pictures(said, OUT_OF_FOLD)
        fold_N = answers.first.folds_N
        for name, each in zip(answers.names, answers.predictions, strict=True):
            if (each.folds_N != fold_N).any():
                raise NotComparable(
                    f"{name!r} and {first.name!r} were cross-validated on other folds; train both "
                    "with the same --folds and --split-seed."
                )
        return Ground(answers, fold_N)
    pictures = first.index.part("val")
    said = {
        member.name: _said_of(pictures, member.bundle, f"validation by {member.name}", narrator)
        for member in members
    }
    answers = same_pictures(said, VALIDATION)
    return Ground(answers, fold_numbers(pictures, answers.first.ids, _copies(first, pictures)))


def _said_of(pictures: "Index", bundle: "Bundle", what: str, narrator: Narrator) -> "Predictions":
    from holotype.bundle.inference import predict

    with narrator.progress(what) as progress:
        said, refused = predict(
            bundle, pictures, on_progress=lambda done: progress(done, len(pictures))
        )
    if refused:
        raise DatasetError(f"a picture that the members know cannot be read now: {refused[0]}")
    return said


def _copies(member: "Member", pictures: "Index") -> list[frozenset[str]]:
    """What shows one picture: files of equal bytes, and the copies that its audit has verified."""
    table = pictures.table
    equal = [frozenset(rows["path"]) for _, rows in table.groupby("sha256") if len(rows) > 1]
    run = member.run
    for audit in (run.audit, run.path.parent.parent / "audit"):  # of a stage or fold: its run's
        if (audit / "audit.json").is_file():
            told = json.loads((audit / "audit.json").read_text(encoding="utf-8"))
            return [*equal, *(frozenset(paths) for paths in told.get("copies", []))]
    return equal


def _recipe(
    members: "Sequence[Member]", ground: "Ground", fitted: "Fitted", *, asked: str
) -> "EnsembleRecipe":
    from holotype.ensemble.recipe import EnsembleRecipe, MemberRecipe
    from holotype.road.folded import OUT_OF_FOLD

    classes = members[0].bundle.classes
    equal_CM = np.full((len(classes), len(fitted.members)), 1 / len(fitted.members))
    weights_CM = equal_CM if fitted.weights_CM is None else fitted.weights_CM
    return EnsembleRecipe(
        name=members[0].bundle.manifest.name,
        asked=asked,
        method=fitted.method,
        fitted_on=OUT_OF_FOLD if members[0].is_folded else VALIDATION,
        best_member=members[ground.best].name,
        members=tuple(
            MemberRecipe(
                run=members[number].name,
                bundle=members[number].bundle.sha256,
                model=members[number].bundle.manifest.model,
                weights=dict(zip(classes, weights_C.tolist(), strict=True)),
            )
            for number, weights_C in zip(fitted.members, weights_CM.T, strict=True)
        ),
        left_out=tuple(member.name for n, member in enumerate(members) if n not in fitted.members),
        losses={str(name): loss for name, loss in fitted.losses.items()},
    )


def _joined(members: "Sequence[Member]") -> "Index":
    """The pictures of the first member, and those that only another learnt from.

    Whoever takes the ensemble for a member must know all that it has seen.
    """
    import pandas as pd

    first = members[0].index
    tables, known = [first.table], set(first.table["sha256"])
    for member in members[1:]:
        table = member.index.table
        rows = table[table["sha256"].isin(member.learnt_from - known)]
        known |= set(rows["sha256"])
        tables.append(_moved_to(first.root, member.index, rows))
    table = pd.concat(tables).drop_duplicates("path").sort_values("path", ignore_index=True)
    return replace(first, table=table)


def _moved_to(root: Path, index: "Index", rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows with paths relative to another folder."""
    if index.root == root:
        return rows
    moved = [Path(os.path.relpath(index.file(path), root)).as_posix() for path in rows["path"]]
    return rows.assign(path=moved)


def _write_start(
    run: Run, recipe: "EnsembleRecipe", index: "Index", members: "Sequence[Member]"
) -> None:
    """What is known before anything is predicted; its training took what its members' took."""
    import shutil

    from holotype.road.order import cost_of, record_cost, write_environment

    run.write_recipe(recipe.to_yaml())
    index.write(run.index)
    write_environment(run, "cpu")
    timed = all(member.run.environment.is_file() for member in members)
    seconds, resumed = cost_of([member.run for member in members]) if timed else (None, False)
    record_cost(run, seconds, resumed=resumed)
    audit = members[0].run.audit
    if audit.is_dir():
        shutil.copytree(audit, run.audit)


def _sealed(
    members: "Sequence[Member]",
    ground: "Ground",
    fitted: "Fitted",
    run: Run,
    name: str,
    narrator: Narrator,
) -> "Bundle":
    """The members as one bundle, with the temperature that its own predictions ask for."""
    from holotype.bundle.members import write_members
    from holotype.evaluation.decision import decide
    from holotype.road.promised import sealed_with_sets
    from holotype.road.trained import predictions_of

    chosen = [members[number].bundle for number in fitted.members]
    bundle = write_members(run.bundle, chosen, name=name, weights_CM=fitted.weights_CM)
    if members[0].is_folded:
        row_of = {path: row for row, path in enumerate(fitted.held_out.ids)}
        rows = [row_of[path] for path in members[0].index.table["path"] if path in row_of]
        out_of_fold = fitted.held_out.select(np.array(rows, np.int64))
        out_of_fold.write(run.predictions / "oof.parquet")
        return sealed_with_sets(
            bundle, decide(out_of_fold), members[0].index, out_of_fold=out_of_fold
        )
    said = _said_of(members[0].index.part("val"), bundle, VALIDATION, narrator)
    bundle = sealed_with_sets(bundle, decide(said), members[0].index)
    predictions_of("val", members[0].index, bundle, run, narrator)
    return bundle


def _judged(
    members: "Sequence[Member]",
    ground: "Ground",
    fitted: "Fitted",
    bundle: "Bundle",
    index: "Index",
    run: Run,
    narrator: Narrator,
) -> "tuple[Report, Verdict]":
    """The first and only look at test, and what it says, written down."""
    from holotype.ensemble.verdict import Verdict, gain_over, images_per_second
    from holotype.evaluation.report import evaluate
    from holotype.files import write_json
    from holotype.road.folded import OUT_OF_FOLD
    from holotype.road.trained import predictions_of

    best = members[ground.best]
    part = OUT_OF_FOLD if best.is_folded else "val"
    of_best = ground.answers.predictions[ground.best]
    held_out = gain_over(
        fitted.held_out, of_best,
        f"{OUT_OF_FOLD if best.is_folded else VALIDATION}, weights held out",
    )  # fmt: skip
    test = predictions_of("test", members[0].index, bundle, run, narrator)
    if test is None:
        shown, judged = fitted.held_out, held_out
    else:
        alone = _said_of(members[0].index.part("test"), best.bundle, "the best member", narrator)
        shown, part, judged = test, "test", gain_over(test, alone, "test")
    files = [members[0].index.file(path) for path in shown.ids]
    with narrator.progress("measuring the speed"):
        verdict = Verdict(
            best=best.name,
            judged=judged,
            held_out=held_out,
            speed=images_per_second(bundle, files),
            speed_of_best=images_per_second(best.bundle, files),
        )
    report = evaluate(shown, part=part)
    write_json(run.report / "verdict.json", verdict.to_json())
    _write_report(report, shown, verdict, bundle, index, run, narrator)
    return report, verdict


def _write_report(
    report: "Report",
    shown: "Predictions",
    verdict: "Verdict",
    bundle: "Bundle",
    index: "Index",
    run: Run,
    narrator: Narrator,
) -> None:
    from holotype.dataset.split import parts_of
    from holotype.ensemble.recipe import read_ensemble
    from holotype.evaluation.card import write_card
    from holotype.evaluation.report import ReportContext, evaluate, write_report
    from holotype.explanation.gallery import gallery
    from holotype.predictions import read_predictions
    from holotype.road.promised import scores_of_sets

    recipe = read_ensemble(run.recipe)
    assert recipe is not None
    narrator.say("writing the report")
    context = ReportContext(
        title=run.path.name,
        run_name=run.path.name,
        model=bundle.manifest.model,
        recipe=f"ensemble ({recipe.method})",
        data=f"{index.in_words} in {index.root}",
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        audit=None,
        notes=_notes(recipe, verdict, has_test=report.part == "test"),
        bundle_hash=bundle.sha256,
        temperature=bundle.temperature,
        command=_command(recipe, run),
        sets=scores_of_sets(bundle, shown if report.part == "test" else None),
    )
    said = run.predictions / "val.parquet"
    validation = evaluate(read_predictions(said), part="val") if said.is_file() else None
    write_card(run, report, context=context, bundle=bundle, index=index, validation=validation)
    # Last: the page is what says that the run is finished.
    write_report(
        report, run.report, predictions=shown, context=context,
        exhibits=gallery(bundle, index, shown), validation=validation,
    )  # fmt: skip


def _notes(recipe: "EnsembleRecipe", verdict: "Verdict", *, has_test: bool) -> list[str]:
    notes = [
        verdict.words(),
        f"Ensemble minus its best member: {verdict.judged.words()}.",
    ]
    if has_test:
        notes.append(f"The same before test was read: {verdict.held_out.words()}.")
    else:
        notes.append(
            "No picture was kept for a test: weights and temperature for each fold come "
            "from the other folds; what ships has them from all, and so do the heatmaps."
        )
    how = f"Weights ({recipe.method}, fitted on {recipe.fitted_on}): {_weights(recipe)}."
    if recipe.losses:
        tried = ", ".join(f"{name} {loss:.4f}" for name, loss in recipe.losses.items())
        how += f" Log loss on held-out pictures: {tried}."
    if recipe.left_out:
        how += f" Left out, since they weigh nothing: {', '.join(recipe.left_out)}."
    return [*notes, how]


def _weights(recipe: "EnsembleRecipe") -> str:
    return ", ".join(f"{member.run} {member.share}" for member in recipe.members)


def _command(recipe: "EnsembleRecipe", run: Run) -> str:
    runs = [*(member.run for member in recipe.members), *recipe.left_out]
    return shlex.join(
        ["holotype", "ensemble", *runs, "--output", str(run.path), "--method", recipe.asked]
    )
