"""Pictures -> index -> audit -> split -> train -> bundle -> predictions -> report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from holotype.errors import DatasetError
from holotype.narration import Narrator
from holotype.road.audited import Audited
from holotype.road.order import Order, Published, record_cost, write_environment
from holotype.road.promised import scores_of_sets
from holotype.road.rehearsed import Rehearsal, rehearse
from holotype.road.resumed import clear_unfinished, is_finished, require_same, run_to_resume
from holotype.road.shipped import require_validation, train_and_ship
from holotype.road.usable import usable
from holotype.run import Run, next_run_path

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.dataset.findings import Findings
    from holotype.dataset.index import Index
    from holotype.dataset.leaks import OnLeak
    from holotype.evaluation.flattery import Flattery
    from holotype.evaluation.report import Report
    from holotype.predictions import Predictions
    from holotype.training.train import Trained
    from holotype.training.watch import Watch


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` leaves in memory; all of it is on disk too.

    Attributes:
        run: the directory.
        metrics: the report on the test part, or on validation where test has no pictures.
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
            "refused": sorted(self.findings.broken),
            "metrics": self.metrics.to_json(),
        }


@overload
def train(
    data: str | Path | Sequence[str | Path], *, dry_run: Literal[True], **options: Any
) -> Rehearsal: ...


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
    watch: "Watch | None" = None,
    dry_run: bool = False,
    narrator: Narrator | None = None,
    published: Published = (),
    notes: Sequence[str] = (),
) -> TrainedRun | Rehearsal:
    """Audit, split, train, ship, and read the test part once.

    Args:
        data: a folder with one folder per class, split folders, or a CSV or Parquet table; or
            several of these.
        output: the run directory; `runs/NAME-1`, `-2`, … unless said otherwise.
        recipe: a name or a YAML file, the one that suits the model where none is named; the other
            arguments change single fields of it, see `resolve_recipe`.
        init_from: a run, or RUN@STAGE, whose weights this recipe starts from.
        folds: train as many classifiers, each tested on the pictures that the others share, and
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
        watch: how often a state is written within an epoch, and whether to stop after a step.
        dry_run: time a batch of every stage, say what it would take, and leave no run behind.
        published: figures of others to print beside the score.
        notes: caveats to print near the score.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    from holotype.dataset.audit import audit
    from holotype.dataset.combined import source_name
    from holotype.dataset.exclusion import confirmed_rows, foreign_paths
    from holotype.dataset.index import read_index, require_classes
    from holotype.models.catalog import architecture
    from holotype.models.weights import find_weights
    from holotype.training.device import be_deterministic, resolve_device
    from holotype.training.disk import disk_budget as read_disk_budget
    from holotype.training.recipe import resolve_recipe

    narrator = narrator or Narrator()
    if init_from is not None:
        from holotype.road.begun import weights_of

        begun = weights_of(init_from, model=model, weights=weights)
        model, weights, image_size = begun.model, begun.weights, image_size or begun.image_size
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
        be_deterministic()
    sources = [data] if isinstance(data, str | Path) else list(data)
    name = "-".join(source_name(Path(source)) for source in sources)
    path = output or next_run_path(name)
    run = run_to_resume(path) if resume else Run.free(path)
    index = read_index(
        sources, label_pattern=label_pattern, group_pattern=group_pattern,
        label_prefix=label_prefix,
    )  # fmt: skip
    require_classes(index)
    if exclude is not None:
        foreign_paths(index, exclude)
    narrator.say(f"{index.in_words} in {index.root}")
    with narrator.progress("auditing") as progress:
        findings = audit(index, on_progress=progress)
    audited = Audited(index, findings, name)
    index = usable(index, findings, narrator)
    order = Order(
        recipe=resolved, name=name, sources=[str(source) for source in sources],
        audited=audited, device=resolved_device, narrator=narrator, on_leak=on_leak,
        exclude=None if exclude is None else str(exclude), save_memory=save_memory, budget=budget,
        resume=resume, watch=watch, published=published, notes=notes,
        options={
            "--label-pattern": label_pattern, "--group-pattern": group_pattern,
            "--label-prefix": label_prefix,
        },
    )  # fmt: skip
    if dry_run:
        return rehearse(order, index, folds)
    if folds is not None:
        from holotype.road.folded import train_folds

        return train_folds(order, index, run, folds)
    return _train_once(order, index, run)


def _train_once(order: Order, index: "Index", run: Run) -> TrainedRun:
    """One split, one classifier."""
    index, order = order.split(index)
    with run.create():
        report = train_on(order, index, run, command=order.command(run))
    return TrainedRun(run, report, order.findings)


def train_on(
    order: Order, index: "Index", run: Run, *, command: str, is_fold: bool = False
) -> "Report":
    """One run on an index that is split: train, ship, and read the test part once.

    Args:
        run: created, and held by this process.
        command: what repeats it.
        is_fold: whether it is one of several, whose parent holds the audit and says what a split
            that ignores the groups would claim.
    """
    from holotype.dataset.split import lacking
    from holotype.road.flattered import flattery_of
    from holotype.road.left_out import leave_out

    narrator = replace(order.narrator, log=run.log)
    index, left_out = leave_out(index, order.exclude, order.narrator)
    goes_on = run.recipe.is_file()
    if order.resume:
        require_same(run, order.recipe, index)
        if is_finished(run):
            narrator.say(f"{run.path} is finished already; nothing was done again")
            return order.cautioned(finished_report(run))
        clear_unfinished(run)
    lacks = lacking(index, ratios=order.recipe.split.ratios)
    # Before anything is written: the same command should do once its cause is removed.
    require_validation(order.recipe, index)
    _require_a_part_to_report(index, lacks)
    for line in lacks:
        narrator.say(line)
    run.write_recipe(order.recipe.to_yaml())
    index.write(run.index)
    if not is_fold:
        order.audited.write(run.audit)
    write_environment(run, order.device)
    began = time.monotonic()
    trained, bundle = train_and_ship(order, index, run, narrator)
    record_cost(run, time.monotonic() - began, resumed=goes_on)
    return _report(
        replace(order, narrator=narrator, notes=[*order.notes, *lacks]),
        index, run, bundle, trained, command=command, left_out=left_out,
        flattery=None if is_fold else flattery_of(order, index),
    )  # fmt: skip


def _require_a_part_to_report(index: "Index", lacks: Sequence[str]) -> None:
    """
    Raises:
        DatasetError: neither validation nor test has a picture.
    """
    if set(index.table["split"]) & {"val", "test"}:
        return
    advice = "Add pictures, or change --ratios."
    raise DatasetError(
        " ".join(["neither validation nor test would have a picture to report on.", *lacks, advice])
    )


def finished_report(run: Run) -> "Report":
    """The report of a run that has been at its end before, from its predictions."""
    from holotype.evaluation.report import evaluate
    from holotype.predictions import read_predictions

    part = "test" if (run.predictions / "test.parquet").is_file() else "val"
    return evaluate(read_predictions(run.predictions / f"{part}.parquet"), part=part)


def predictions_of(
    part: Literal["val", "test"], index: "Index", bundle: "Bundle", run: Run, narrator: Narrator
) -> "Predictions | None":
    """Predictions of one part, written; None where it has no pictures."""
    from holotype.bundle.inference import predict

    pictures = index.part(part)
    if len(pictures) == 0:
        return None
    with narrator.progress(f"predicting {part}") as progress:
        predictions, refused = predict(
            bundle, pictures, on_progress=lambda done: progress(done, len(pictures))
        )
    if refused:
        raise DatasetError(f"a picture became unreadable while training ran: {refused[0]}")
    predictions.write(run.predictions / f"{part}.parquet")
    return predictions


def _report(
    order: Order,
    index: "Index",
    run: Run,
    bundle: "Bundle",
    trained: "Trained",
    *,
    command: str,
    left_out: dict[str, float],
    flattery: "Flattery | None",
) -> "Report":
    """The first and only look at test, and what it says, written down."""
    from dataclasses import asdict

    from holotype.dataset.split import parts_of
    from holotype.evaluation.card import write_card
    from holotype.evaluation.report import ReportContext, evaluate, write_report
    from holotype.explanation.gallery import gallery
    from holotype.road.left_out import note_on_left_out
    from holotype.road.weighed import effect_of_weighing

    validation = predictions_of("val", index, bundle, run, order.narrator)
    test = predictions_of("test", index, bundle, run, order.narrator)
    shown = test if test is not None else validation
    part: Literal["val", "test"] = "test" if test is not None else "val"
    assert shown is not None  # see `_require_a_part_to_report`
    notes = [*order.notes]
    if test is None:
        notes.append("The test part has no pictures: this is validation, which chose the model.")
    report = order.cautioned(evaluate(shown, part=part))
    notes += note_on_left_out(report, shown, left_out)
    order.narrator.say("writing the report")
    context = ReportContext(
        title=run.path.name,
        run_name=run.path.name,
        model=order.recipe.model,
        recipe=order.recipe.name,
        data=f"{index.in_words} in {order.data}",
        split_sizes={name: len(index.part(name)) for name in parts_of(index)},
        audit=order.findings.summary_rows(),
        notes=[*notes, *trained.notes],
        bundle_hash=bundle.sha256,
        temperature=bundle.temperature,
        command=command,
        published=order.published,
        flattery=flattery,
        sets=scores_of_sets(bundle, test),
        weighing=effect_of_weighing(report, shown, trained.emphasis_C),
    )
    beside = evaluate(validation, part="val") if validation is not None else None
    write_card(
        run, report, context=context, bundle=bundle, index=index, validation=beside,
        seeds=order.seeds,
    )  # fmt: skip
    # Last: the page is what says that the run is finished.
    write_report(
        report, run.report, predictions=shown, context=context,
        exhibits=gallery(bundle, index.part(part), shown),
        history=[asdict(row) for row in trained.history],
        validation=beside,
    )  # fmt: skip
    return report
