"""Cross-validation as a run: as many ordinary runs as folds, and one parent that is their mean.

    runs/photos-1/
      folds/0/ …           ordinary runs; the images of fold k are the test part of run k
      predictions/oof.parquet   every image, as the one classifier says that never saw it
      bundle/              the classifiers of the folds as members
      report/              of the pooled predictions, with a table of the folds

What is reported is out of fold: each image is judged by the classifier whose training and
validation it stood outside of, with the temperature that classifier had sealed by then. The mean
of all is what ships, and is likely better than any one of them; how much cannot be measured on
these images, since most of its members learnt from each.

The temperature of the mean is fitted on the out-of-fold predictions. The pooled validation
predictions would be no honest ground for it: an image that validates one fold trains the others.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.combination import log_softmax
from holotype.bundle.inference import concatenated
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import folds, split
from holotype.ensembles.ensemble_recipe import OUT_OF_FOLD
from holotype.errors import DatasetError, InvalidRatios, InvalidRecipe
from holotype.evaluation.build_report import build_report
from holotype.evaluation.fit_decision import fit_decision
from holotype.evaluation.report_data import Report
from holotype.files import discard, write_json
from holotype.pipeline.training_run.calibrate import seal
from holotype.pipeline.training_run.class_weight_report import (
    class_weights_of_folds,
    measure_class_weighting,
)
from holotype.pipeline.training_run.excluded_images import (
    exclude_and_log,
    exclusion_notes,
    relabel_notes,
    require_trainable,
)
from holotype.pipeline.training_run.group_leakage_report import measure_group_leakage
from holotype.pipeline.training_run.resume import begin_run
from holotype.pipeline.training_run.run_report import ScoredBundle, report_run
from holotype.pipeline.training_run.single_run import predict_part, train_single_run
from holotype.pipeline.training_run.training_job import (
    TrainingJob,
    record_training_cost,
    total_training_seconds,
)
from holotype.predictions import Predictions, read_predictions
from holotype.run_directory import RunDirectory
from holotype.training.interruption import naming_resume


def train_folds(job: TrainingJob, index: Index, run: RunDirectory, num_folds: int) -> None:
    """Train on every fold, ship the mean, and report what was said out of fold.

    Args:
        index: images that can be read. Those of a test part that came with the data stand
            outside of all folds, and are read once at the end.
        num_folds: at least 2.

    Raises:
        InvalidFolds: there are not as many images or groups.
        InvalidRatios: the recipe leaves no validation part to seal a decision on, or asks for a
            part that folds do not need.
        InvalidRecipe: it asks for what only a single classifier can promise.
    """
    index, job = assign_folds(job, index, num_folds)
    for fold in range(num_folds):
        require_trainable(split_of_fold(job, index, fold), job.request.reading.exclude)
    runs = [run.fold(fold) for fold in range(num_folds)]
    job = job.in_run(run)
    with naming_resume(run.path):
        if not begin_run(job, index, run):
            return
        for fold, fold_run in enumerate(runs):
            job.progress.log(f"fold {fold} ({fold + 1} of {num_folds})")
            _train_fold(job, index, fold_run, fold)
        oof, scores = _pool_predictions(runs, index)
        oof.write(run.predictions / "oof.parquet")
        bundle = _seal_mean_ensemble(runs, run, job.name, oof, index)
        seconds, resumed = total_training_seconds(runs)
        record_training_cost(run, seconds, resumed=resumed)
        _report(job, index, run, bundle, oof, scores)


def assign_folds(job: TrainingJob, index: Index, num_folds: int) -> tuple[Index, TrainingJob]:
    """The images in their folds; and the job, which knows of a split that leaks.

    Raises:
        InvalidFolds, InvalidRatios, InvalidRecipe: see `train_folds`.
    """
    if job.recipe.split.ratios[1] == 0:
        raise InvalidRatios(
            "folds need a validation part to fit each temperature on, but the ratios "
            f"{', '.join(f'{ratio:g}' for ratio in job.recipe.split.ratios)} leave none; "
            "give it a share, such as 0.7 0.15 0.15."
        )
    if len(job.recipe.split.ratios) > 3:
        raise InvalidRatios(
            "folds calibrate sets of classes on what each classifier says of its own fold, so no "
            "part is held back for that; give three ratios, such as 0.7 0.15 0.15."
        )
    if job.recipe.split.unseen:
        raise InvalidRecipe(
            "recipe: split.unseen holds out individuals, and folds test every image once; leave "
            "one of both out."
        )
    if job.recipe.unknown is not None:
        raise InvalidRecipe(
            "recipe: unknown is sealed for one classifier, and folds ship the mean of several. "
            "Leave it out, or train without --folds."
        )
    index, job = job.resolve_leaks(index)
    seed, keep_together = job.recipe.split.seed, job.findings.duplicate_clusters
    return job.relabel(folds(index, num_folds, seed=seed, keep_together=keep_together))


def split_of_fold(job: TrainingJob, index: Index, fold: int) -> Index:
    """The split of one fold's run: the fold is tested, validation is cut from the others."""
    recipe = job.recipe
    return split(
        _with_fold_as_test(index, fold),
        ratios=recipe.split.ratios,
        seed=recipe.split.seed,
        keep_together=job.findings.duplicate_clusters,
    )


def _train_fold(job: TrainingJob, index: Index, run: RunDirectory, fold: int) -> None:
    """An ordinary run; what is to be said of all folds is said by their parent."""
    of_fold = replace(job, request=replace(job.request, published=()), leak_caveats=())
    with run.create():
        train_single_run(
            of_fold, split_of_fold(job, index, fold), run,
            command=job.command(run, "--folds", str(int(index.table["fold"].max()) + 1)),
            is_fold=True,
        )  # fmt: skip


def _with_fold_as_test(index: Index, fold: int) -> Index:
    """The images of all folds, with one of them as the test part."""
    table = index.table[index.table["fold"] >= 0].reset_index(drop=True)
    is_tested = table["fold"] == fold
    table["split"] = is_tested.map({True: "test", False: "train"}).astype(table["split"].dtype)
    return replace(index, table=table)


def _pool_predictions(
    runs: Sequence[RunDirectory], index: Index
) -> tuple[Predictions, list[Report]]:
    """What each classifier says of its own fold, in the order of the index; and its scores.

    The temperatures of the folds differ, so that of the pool is 1: its logits are the logarithms
    of the probabilities that were sealed.
    """
    parts, scores = [], []
    for fold, run in enumerate(runs):
        part = read_predictions(run.predictions / "test.parquet")
        scores.append(build_report(part, part=f"fold {fold}"))
        temperature = load_bundle(run.path).temperature
        logits_NC = log_softmax(part.logits_NC, temperature).astype(np.float32)
        parts.append(replace(part, logits_NC=logits_NC))
    pooled = concatenated(parts)
    row_of = {name: row for row, name in enumerate(pooled.ids)}
    rows = [row_of[path] for path in index.table["path"] if path in row_of]
    return pooled.select(np.array(rows, np.int64)), scores


def _seal_mean_ensemble(
    runs: Sequence[RunDirectory], run: RunDirectory, name: str, oof: Predictions, index: Index
) -> Bundle:
    """The classifiers of the folds as members of one, sealed."""
    members = [load_bundle(fold.path) for fold in runs]
    for member, fold in zip(members, runs, strict=True):
        if member.manifest.decision is None:
            raise DatasetError(
                f"{str(fold.path)!r} has no validation image to fit its temperature on; ask for "
                "fewer folds, or give validation a larger share with --ratios."
            )
    write_json(run.class_names, list(index.classes))
    discard(run.bundle)  # of a process that was killed
    return seal(
        write_members(run.bundle, members, name=name, unsealed=True),
        fit_decision(oof),
        index,
        out_of_fold=oof,
    )


def _report(
    job: TrainingJob,
    index: Index,
    run: RunDirectory,
    bundle: Bundle,
    oof: Predictions,
    scores: Sequence[Report],
) -> None:
    """The pooled predictions; or those of the mean, where the data came with a test part."""
    kept, original_weights = exclude_and_log(index, job.request.reading.exclude, job.progress)
    pooled = build_report(oof, part=OUT_OF_FOLD)
    test = predict_part("test", kept, bundle, run, job.progress)
    counted = dict(zip(index.table["path"], index.table["weight"], strict=True))
    original_weights |= {
        path: counted[path]
        for path, weight in zip(oof.ids, oof.weights_N, strict=True)
        if weight != counted[path]
    }
    reported, report = (oof, pooled) if test is None else (test, build_report(test, part="test"))
    report = job.with_caveats(report)
    left_out = exclusion_notes(report, reported, original_weights)
    job.progress.log_all(left_out)
    scored = ScoredBundle(
        bundle=bundle, index=index, predictions=reported, report=report,
        validation=None if test is None else pooled, pooled=test is None,
    )  # fmt: skip
    context = replace(
        job.report_context(
            index, job.command(run, "--folds", str(len(scores))),
            group_leakage=measure_group_leakage(job, kept),
        ),
        split_sizes={
            **{each.part: each.num_images for each in scores},
            **({} if test is None else {"test": len(test)}),
        },
        notes=[
            *job.request.notes,
            *_notes(bundle, test is not None),
            *left_out,
            *relabel_notes(report, reported, job.labels_before),
        ],
        folds=scores,
        class_weighting=(
            # What ships answers with a mean, out of which the weights of its members cannot be
            # taken; each classifier's own answers are those out of fold.
            measure_class_weighting(pooled, oof, class_weights_of_folds(bundle, oof))
            if test is None
            else None
        ),
    )  # fmt: skip
    with job.progress.busy("writing the report"):
        report_run(run, scored, context, seeds=job.seeds)


def _notes(bundle: Bundle, has_test: bool) -> list[str]:
    count = len(bundle.members)
    if has_test:
        return [f"The mean of the {count} classifiers of the folds was tested."]
    return [
        f"Out of fold: each image was judged by the one of {count} classifiers that never saw "
        "it, nor its group or a copy of it.",
        f"What ships is the mean of the {count} (bundle {bundle.sha256[:12]}). It is likely a "
        "little better than these figures, but no image here can tell, since each has trained "
        "most of its members.",
    ]
