"""Cross-validation as a run: as many ordinary runs as folds, and one parent that is their mean.

    runs/photos-1/
      folds/0/ …           ordinary runs; the pictures of fold k are the test part of run k
      predictions/oof.parquet   every picture, as the one classifier says that never saw it
      bundle/              the classifiers of the folds as members
      report/              of the pooled predictions, with a table of the folds

What is reported is out of fold: each picture is judged by the classifier whose training and
validation it stood outside of, with the temperature that classifier had sealed by then. The mean
of all is what ships, and is likely better than any one of them; how much cannot be measured on
these pictures, since most of its members learnt from each.

The temperature of the mean is fitted on the out-of-fold predictions. The pooled validation
predictions would be no honest ground for it: a picture that validates one fold trains the others.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from holotype.errors import DatasetError, InvalidRatios, InvalidRecipe
from holotype.road.flattered import flattery_of
from holotype.road.left_out import leave_out, note_on_left_out
from holotype.road.order import Order, cost_of, record_cost, write_environment
from holotype.road.promised import scores_of_sets, sealed_with_sets
from holotype.road.resumed import clear_unfinished, is_finished, require_same
from holotype.road.trained import TrainedRun, finished_report, predictions_of, train_on
from holotype.road.weighed import effect_of_weighing, weights_of_folds
from holotype.run import Run

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.dataset.index import Index
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions

OUT_OF_FOLD = "out of fold"


def train_folds(order: Order, index: "Index", run: Run, num_folds: int) -> TrainedRun:
    """Train on every fold, ship the mean, and report what was said out of fold.

    Args:
        index: pictures that can be read. Those of a test part that came with the data stand
            outside of all folds, and are read once at the end.
        num_folds: at least 2.

    Raises:
        InvalidFolds: there are not as many pictures or groups.
        InvalidRatios: the recipe leaves no validation part to seal a decision on, or asks for a
            part that folds do not need.
        InvalidRecipe: it asks for what only a single classifier can promise.
    """
    index, order = in_folds(order, index, num_folds)
    runs = [run.fold(fold) for fold in range(num_folds)]
    order = replace(order, narrator=replace(order.narrator, log=run.log))
    with run.create():
        if order.resume:
            require_same(run, order.recipe, index)
            if is_finished(run):
                order.narrator.say(f"{run.path} is finished already; nothing was done again")
                return TrainedRun(run, order.cautioned(_finished_report(run)), order.findings)
            clear_unfinished(run)
        run.write_recipe(order.recipe.to_yaml())
        index.write(run.index)
        order.audited.write(run.audit)
        write_environment(run, order.device)
        for fold, fold_run in enumerate(runs):
            order.narrator.say(f"fold {fold} ({fold + 1} of {num_folds})")
            _train_fold(order, index, fold_run, fold)
        oof, scores = _pooled(runs, index)
        oof.write(run.predictions / "oof.parquet")
        bundle = _mean_of(runs, run, order.name, oof, index)
        seconds, resumed = cost_of(runs)
        record_cost(run, seconds, resumed=resumed)
        report = _report(order, index, run, bundle, runs, oof, scores)
    return TrainedRun(run, report, order.findings)


def in_folds(order: Order, index: "Index", num_folds: int) -> "tuple[Index, Order]":
    """The pictures in their folds; and the order, which knows of a split that leaks.

    Raises:
        InvalidFolds, InvalidRatios, InvalidRecipe: see `train_folds`.
    """
    from holotype.dataset.split import folds

    if order.recipe.split.ratios[1] == 0:
        raise InvalidRatios(
            "folds need a validation part to fit each temperature on, but the ratios "
            f"{', '.join(f'{ratio:g}' for ratio in order.recipe.split.ratios)} leave none; "
            "give it a share, such as 0.7 0.15 0.15."
        )
    if len(order.recipe.split.ratios) > 3:
        raise InvalidRatios(
            "folds calibrate sets of classes on what each classifier says of its own fold, so no "
            "part is held back for that; give three ratios, such as 0.7 0.15 0.15."
        )
    if order.recipe.unknown is not None:
        raise InvalidRecipe(
            "recipe: unknown is sealed for one classifier, and folds ship the mean of several. "
            "Leave it out, or train without --folds."
        )
    index, order = order.settled(index)
    seed, together = order.recipe.split.seed, order.findings.copies
    return folds(index, num_folds, seed=seed, together=together), order


def dealt_for(order: Order, index: "Index", fold: int) -> "Index":
    """The split of one fold's run: the fold is tested, validation is cut from the others."""
    from holotype.dataset.split import split

    recipe = order.recipe
    return split(
        _tested_on(index, fold),
        ratios=recipe.split.ratios, seed=recipe.split.seed, together=order.findings.copies,
    )  # fmt: skip


def _finished_report(run: Run) -> "Report":
    """The report of a parent that has been at its end before, from its predictions."""
    from holotype.evaluation.report import evaluate
    from holotype.predictions import read_predictions

    if (run.predictions / "test.parquet").is_file():
        return finished_report(run)
    return evaluate(read_predictions(run.predictions / "oof.parquet"), part=OUT_OF_FOLD)


def _train_fold(order: Order, index: "Index", run: Run, fold: int) -> None:
    """An ordinary run."""
    with run.create():
        train_on(
            replace(order, published=(), leaks=()), dealt_for(order, index, fold), run,
            command=order.command(run, "--folds", str(int(index.table["fold"].max()) + 1)),
            is_fold=True,
        )  # fmt: skip


def _tested_on(index: "Index", fold: int) -> "Index":
    """The pictures of all folds, with one of them as the test part."""
    table = index.table[index.table["fold"] >= 0].reset_index(drop=True)
    is_tested = table["fold"] == fold
    table["split"] = is_tested.map({True: "test", False: "train"}).astype(table["split"].dtype)
    return replace(index, table=table)


def _pooled(runs: Sequence[Run], index: "Index") -> "tuple[Predictions, list[Report]]":
    """What each classifier says of its own fold, in the order of the index; and its scores.

    The temperatures of the folds differ, so that of the pool is 1: its logits are the logarithms
    of the probabilities that were sealed.
    """
    from holotype.bundle.bundle import load_bundle
    from holotype.bundle.combination import log_softmax
    from holotype.evaluation.report import evaluate
    from holotype.predictions import read_predictions

    parts, scores = [], []
    for fold, run in enumerate(runs):
        part = read_predictions(run.predictions / "test.parquet")
        scores.append(evaluate(part, part=f"fold {fold}"))
        temperature = load_bundle(run.path).temperature
        logits_NC = log_softmax(part.logits_NC, temperature).astype(np.float32)
        parts.append(replace(part, logits_NC=logits_NC))
    pooled = _concatenated(parts)
    row_of = {name: row for row, name in enumerate(pooled.ids)}
    rows = [row_of[path] for path in index.table["path"] if path in row_of]
    return pooled.select(np.array(rows, np.int64)), scores


def _concatenated(parts: "Sequence[Predictions]") -> "Predictions":
    return replace(
        parts[0],
        ids=sum((part.ids for part in parts), ()),
        sha256=sum((part.sha256 for part in parts), ()),
        groups=sum((part.groups for part in parts), ()),
        targets_N=np.concatenate([part.targets_N for part in parts]),
        weights_N=np.concatenate([part.weights_N for part in parts]),
        folds_N=np.concatenate([part.folds_N for part in parts]),
        logits_NC=np.concatenate([part.logits_NC for part in parts]),
        probabilities_NC=np.concatenate([part.probabilities_NC for part in parts]),
    )


def _mean_of(
    runs: Sequence[Run], run: Run, name: str, oof: "Predictions", index: "Index"
) -> "Bundle":
    """The classifiers of the folds as members of one, sealed."""
    from holotype.bundle.bundle import load_bundle
    from holotype.bundle.members import write_members
    from holotype.evaluation.decision import decide

    members = [load_bundle(fold.path) for fold in runs]
    for member, fold in zip(members, runs, strict=True):
        if member.manifest.decision is None:
            raise DatasetError(
                f"{str(fold.path)!r} has no validation picture to fit its temperature on; ask for "
                "fewer folds, or give validation a larger share with --ratios."
            )
    return sealed_with_sets(
        write_members(run.bundle, members, name=name), decide(oof), index, out_of_fold=oof
    )


def _report(
    order: Order,
    index: "Index",
    run: Run,
    bundle: "Bundle",
    runs: Sequence[Run],
    oof: "Predictions",
    scores: "Sequence[Report]",
) -> "Report":
    """The pooled predictions; or those of the mean, where the data came with a test part."""
    from holotype.evaluation.card import write_card
    from holotype.evaluation.report import ReportContext, evaluate, write_report
    from holotype.explanation.gallery import gallery

    left, weights = leave_out(index, order.exclude, order.narrator)
    pooled = evaluate(oof, part=OUT_OF_FOLD)
    test = predictions_of("test", left, bundle, run, order.narrator)
    counted = dict(zip(index.table["path"], index.table["weight"], strict=True))
    weights |= {
        path: counted[path]
        for path, weight in zip(oof.ids, oof.weights_N, strict=True)
        if weight != counted[path]
    }
    shown, report = (oof, pooled) if test is None else (test, evaluate(test, part="test"))
    report = order.cautioned(report)
    order.narrator.say("writing the report")
    context = ReportContext(
        title=run.path.name,
        run_name=run.path.name,
        model=bundle.manifest.model,
        recipe=order.recipe.name,
        data=f"{index.in_words} in {order.data}",
        split_sizes={
            **{scored.part: scored.num_images for scored in scores},
            **({} if test is None else {"test": len(test)}),
        },
        audit=order.findings.summary_rows(),
        notes=[
            *order.notes,
            *_notes(bundle, test is not None),
            *note_on_left_out(report, shown, weights),
        ],
        bundle_hash="" if test is None else bundle.sha256,
        temperature=None if test is None else bundle.temperature,
        command=order.command(run, "--folds", str(len(scores))),
        published=order.published,
        folds=scores,
        flattery=flattery_of(order, left),
        sets=scores_of_sets(bundle, test),
        weighing=(
            # What ships answers with a mean, out of which the weights of its members cannot be
            # taken; each classifier's own answers are those out of fold.
            effect_of_weighing(pooled, oof, weights_of_folds(runs, oof)) if test is None else None
        ),
    )
    beside = None if test is None else pooled
    write_card(
        run, report, context=context, bundle=bundle, index=index, validation=beside,
        seeds=order.seeds,
    )  # fmt: skip
    # Last: the page is what says that the run is finished.
    write_report(
        report, run.report, predictions=shown, context=context,
        exhibits=(
            gallery(dict(enumerate(bundle.members)), index, oof)
            if test is None
            else gallery(bundle, index, test)
        ),
        validation=beside,
    )  # fmt: skip
    return report


def _notes(bundle: "Bundle", has_test: bool) -> list[str]:
    count = len(bundle.members)
    if has_test:
        return [f"The mean of the {count} classifiers of the folds was tested."]
    return [
        f"Out of fold: each picture was judged by the one of {count} classifiers that never saw "
        "it, nor its group or a copy of it.",
        f"What ships is the mean of the {count} (bundle {bundle.sha256[:12]}). It is likely a "
        "little better than these figures, but no picture here can tell, since each has trained "
        "most of its members.",
    ]
