"""`holotype train`: labelled images become a run, its bundle and its report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import (
    READING,
    RECIPE,
    RESOURCES,
    RESUMING,
    SPLIT,
    AsJson,
    Device,
    GroupPattern,
    LabelPattern,
    LabelPrefix,
    OnLeak,
    Ratios,
    Settings,
    Switch,
    Unseen,
)
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import UsageError
from holotype.pipeline.training_run.train import estimate_run, run_training
from holotype.pipeline.training_run.train_variants import VariantRow, list_variants, train_variants
from holotype.pipeline.training_run.training_estimate import HEADER, TrainingEstimate
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
from holotype.progress import duration, pluralize, to_stderr
from holotype.run_directory import next_run_path
from holotype.text_tables import text_table
from holotype.training.interruption import CHECKPOINT_MINUTES
from holotype.training.time_estimate import estimate_rows


def train(
    data: Annotated[tuple[Path, ...], Parameter(show_default=False)] = (),
    /,
    *,
    output: Path | None = None,
    model: Annotated[str | None, Parameter(group=RECIPE)] = None,
    recipe: Annotated[str | None, Parameter(group=RECIPE)] = None,
    seed: Annotated[int | None, Parameter(group=RECIPE)] = None,
    weights: Annotated[str | None, Parameter(group=RECIPE)] = None,
    init_from: Annotated[str | None, Parameter(group=RESUMING)] = None,
    teacher: Annotated[str | None, Parameter(group=RECIPE)] = None,
    epochs: Annotated[int | None, Parameter(group=RECIPE)] = None,
    batch_size: Annotated[int | None, Parameter(group=RECIPE)] = None,
    learning_rate: Annotated[float | None, Parameter(group=RECIPE)] = None,
    image_size: Annotated[int | None, Parameter(group=RECIPE)] = None,
    settings: Settings = (),
    ratios: Ratios = None,
    split_seed: Annotated[int | None, Parameter(group=SPLIT)] = None,
    unseen: Unseen = None,
    folds: Annotated[int | None, Parameter(group=SPLIT)] = None,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    on_leak: OnLeak = "keep",
    exclude: Annotated[Path | None, Parameter(group=READING)] = None,
    relabel: Annotated[Path | None, Parameter(group=READING)] = None,
    tolerate_truncated: Annotated[Switch, Parameter(group=READING)] = False,
    device: Device = "auto",
    save_memory: Annotated[Switch, Parameter(group=RESOURCES)] = False,
    disk_budget: Annotated[str | None, Parameter(group=RESOURCES)] = None,
    deterministic: Annotated[Switch, Parameter(group=RESOURCES)] = False,
    track: Annotated[tuple[str, ...], Parameter(group=RESOURCES)] = (),
    resume: Annotated[Switch, Parameter(group=RESUMING)] = False,
    checkpoint_every: Annotated[float, Parameter(group=RESUMING)] = CHECKPOINT_MINUTES,
    dry_run: Switch = False,
    print_recipe: Switch = False,
    as_json: AsJson = False,
) -> int:
    """Train, evaluate once on the test part, and write the run.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The run directory; runs/NAME-1, -2, … unless said otherwise.
        model: A name that `holotype models` lists, timm:NAME, or FILE.py:FUNCTION, which is run.
        recipe: linear (seconds), finetune, two_phase, progressive, full, scratch, pruned, svm,
            forest, or a YAML file; the one that suits the model unless said otherwise. FILE#NAME is
            one of a file's variants; FILE alone trains all of them.
        seed: Of everything random in training; the split has its own.
        weights: pretrained, none, or a file.
        init_from: RUN or RUN@STAGE: start from the weights that it left; its head too, where it
            knew the same classes and the recipe begins with no linear head.
        teacher: A run or an ensemble of the same classes and split, whose answers are learnt beside
            the labels (distillation).
        epochs: Of the recipe's last stage.
        batch_size: Of the recipe's last stage.
        learning_rate: Of the recipe's last stage.
        image_size: Height and width that the network sees, in pixels.
        split_seed: Of the split (42).
        folds: Cross-validate: train so many, each tested on its own fold, and ship their mean.
        exclude: A table such as the audit's issues.csv: images with yes under `confirmed`, or all
            where there is no such column, train nothing; the score is given with and without them.
        relabel: A table such as an issues.csv reviewed in the dashboard: images with a class under
            `new_label` and yes under `confirmed` get that label; the data itself is not changed.
        tolerate_truncated: Read files that are cut off as far as they go, now and by the bundle
            ever after; the report counts them. They are left out and refused unless this is said.
        save_memory: Compute activations twice instead of holding them; the result is the same.
        disk_budget: For what is computed once and kept, such as 20G.
        deterministic: Refuse operations whose result could differ from one time to the next.
        track: Send the finished run there too: mlflow=URI, mlflow (MLFLOW_TRACKING_URI) or
            tensorboard; or both. A server that cannot be reached costs the run nothing.
        resume: Go on with the run at --output, if there is one, as if nothing had happened.
        checkpoint_every: Minutes between two checkpoints within an epoch; one is written after
            every epoch, and when the process is told to stop (SIGTERM).
        dry_run: Audit, split, time a batch of every stage, print what training would take, stop.
        print_recipe: Print the resolved recipe as YAML, to edit, and stop.
    """
    request = TrainingRequest(
        data=data, output=output, recipe=recipe, model=model, seed=seed, image_size=image_size,
        overrides=_overrides(
            settings, weights=weights, epochs=epochs, batch_size=batch_size,
            learning_rate=learning_rate, split_seed=split_seed,
            **{"teacher.run": teacher, "split.unseen": unseen},
        ),
        ratios=ratios, folds=folds,
        reading=ReadingOptions(
            label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix,
            on_leak=on_leak, exclude=exclude, relabel=relabel,
            tolerate_truncated=tolerate_truncated,
        ),
        resources=Resources(
            device=device, save_memory=save_memory, disk_budget=disk_budget,
            deterministic=deterministic, track=track,
        ),
        resuming=Resuming(
            resume=resume, init_from=init_from, checkpoint_minutes=checkpoint_every
        ),
        progress=to_stderr(),
    )  # fmt: skip
    if print_recipe:
        if as_json:
            raise UsageError("--print-recipe prints YAML; leave out --json.")
        print_result(request.resolve_recipe().to_yaml().rstrip())
        return 0
    if not data:
        raise UsageError("no data was named: holotype train DATA, a folder or a table.")
    variants = list_variants(request)
    if dry_run:
        if variants:
            raise UsageError(
                f"--dry-run looks at one recipe, and {recipe} has several variants: name one, "
                f"{recipe}#{next(iter(variants))}."
            )
        return _print_dry_run(estimate_run(request), as_json)
    if variants:
        return _train_all_variants(
            request, variants, output or next_run_path(Path(str(recipe)).stem), as_json
        )
    run = run_training(request)
    if as_json:
        print_json(run.to_json())
        return 0
    report = run.report
    for caveat in report.caveats:
        print_message(caveat)
    size = pluralize(report.num_images, "image")
    print_result(f"accuracy  {report['accuracy']} on {size} ({report.part})")
    print_result(f"run       {run.path}")
    print_result(f"report    {report.path}")
    print_next_command("holotype", "predict", run.path, "IMAGE")
    return 0


def _overrides(settings: Sequence[str], **options: str | float | None) -> list[str]:
    """The options that are keys of the recipe, as `--set` takes them; a `--set` goes before."""
    words = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return [*words, *settings]


def _print_dry_run(estimate: TrainingEstimate, as_json: bool) -> int:
    """What a training would take; nothing was written but what is kept anyway."""
    if as_json:
        print_json(estimate.to_json())
        return 0
    print_result(_sizes(estimate.split_sizes))
    print_result(text_table(HEADER, estimate_rows(estimate.costs)))
    if len(estimate.split_sizes) > 1:
        least, most = (pick(one["train"] for one in estimate.split_sizes) for pick in (min, max))
        most_of_all = pluralize(most, "image")
        size = most_of_all if least == most else f"{least:,} to {most_of_all}"
        print_result(
            f"{len(estimate.split_sizes)} folds: {duration(estimate.seconds)} is the sum of "
            f"{len(estimate.split_sizes)} trainings on {size} each"
        )
    if estimate.memory_mb is not None:
        print_result(f"memory    {estimate.memory_mb:,.0f} MB at most until here")
    return 0


def _sizes(trainings: list[dict[str, int]]) -> str:
    """How many images of each part; a row for every training where there are several."""
    if len(trainings) == 1:
        return text_table(
            ("part", "images"), [(part, f"{n:,}") for part, n in trainings[0].items()]
        )
    parts = list(trainings[0])
    rows = [
        (f"fold {fold}", *(f"{sizes[part]:,}" for part in parts))
        for fold, sizes in enumerate(trainings)
    ]
    return text_table(("training", *parts), rows)


def _train_all_variants(
    request: TrainingRequest, variants: dict[str, str], output: Path, as_json: bool
) -> int:
    """Train one after the other; a table of what each cost and what validation says of it."""
    rows = train_variants(request, variants, output)
    if as_json:
        print_json({"runs": str(output), "variants": [row.to_json() for row in rows]})
        return 0
    print_result(text_table(VariantRow.HEADER, [row.cells() for row in rows]))
    print_result(f"runs      {output}")
    print_next_command("holotype", "predict", output / rows[0].variant, "IMAGE")
    return 0
