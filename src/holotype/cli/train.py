"""`holotype train`: labelled images become a run, its bundle and its report."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

from cyclopts import Parameter

from holotype import pipeline
from holotype.cli.options import (
    AsJson,
    Device,
    GroupPattern,
    LabelPattern,
    LabelPrefix,
    OnLeak,
    Ratios,
    Settings,
    key_values,
)
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import UsageError
from holotype.pipeline import DryRun, TrainedRun
from holotype.progress import duration, pluralize, to_stderr
from holotype.run_directory import next_run_path
from holotype.terminal import text_table
from holotype.training.config.resolve import resolve_recipe
from holotype.training.interruption import CHECKPOINT_MINUTES, StopSignal
from holotype.training.time_estimate import estimate_rows

Switch = Annotated[bool, Parameter(negative="", show_default=False)]


class RecipeArguments(TypedDict):
    """What the command line says about the recipe."""

    model: str | None
    weights: str | None
    seed: int | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    image_size: int | None
    ratios: tuple[float, ...] | None
    split_seed: int | None
    overrides: Mapping[str, str]


def train(
    data: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    /,
    *,
    output: Path | None = None,
    model: str | None = None,
    recipe: str | None = None,
    seed: int | None = None,
    weights: str | None = None,
    init_from: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    settings: Settings = (),
    ratios: Ratios = None,
    split_seed: int | None = None,
    folds: int | None = None,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    on_leak: OnLeak = "keep",
    exclude: Path | None = None,
    device: Device = "auto",
    save_memory: Switch = False,
    disk_budget: str | None = None,
    deterministic: Switch = False,
    resume: Switch = False,
    checkpoint_every: float = CHECKPOINT_MINUTES,
    dry_run: Switch = False,
    print_recipe: Switch = False,
    as_json: AsJson = False,
) -> int:
    """Train, evaluate once on the test part, and write the run.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The run directory; runs/NAME-1, -2, … unless said otherwise.
        model: A name that `holotype models` lists, timm:NAME, or FILE.py:FUNCTION, which is run.
        recipe: linear (seconds), finetune, two_phase, progressive, full, scratch, svm, forest, or a
            YAML file; the one that suits the model unless said otherwise. FILE#NAME is one of a
            file's variants; FILE alone trains all of them.
        seed: Of everything random in training; the split has its own.
        weights: pretrained, none, or a file.
        init_from: RUN or RUN@STAGE: start from the weights that it left; its head too, where it
            knew the same classes and the recipe begins with no linear head.
        epochs: Of the recipe's last stage.
        batch_size: Of the recipe's last stage.
        learning_rate: Of the recipe's last stage.
        image_size: Height and width that the network sees, in pixels.
        split_seed: Of the split (42).
        folds: Cross-validate: train so many, each tested on its own fold, and ship their mean.
        exclude: A table such as the audit's issues.csv: images with yes under `confirmed`, or all
            where there is no such column, train nothing; the score is given with and without them.
        save_memory: Compute activations twice instead of holding them; the result is the same.
        disk_budget: For what is computed once and kept, such as 20G.
        deterministic: Refuse operations whose result could differ from one time to the next.
        resume: Go on with the run at --output, if there is one, as if nothing had happened.
        checkpoint_every: Minutes between two states within an epoch; one is written after every
            epoch, and when the process is told to stop (SIGTERM).
        dry_run: Audit, split, time a batch of every stage, print what training would take, stop.
        print_recipe: Print the resolved recipe as YAML, to edit, and stop.
    """
    recipe_arguments = RecipeArguments(
        model=model, weights=weights, seed=seed, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, image_size=image_size, ratios=ratios, split_seed=split_seed,
        overrides=key_values(settings),
    )  # fmt: skip
    if print_recipe:
        print_result(resolve_recipe(recipe, **recipe_arguments).to_yaml().rstrip())
        return 0
    if not data:
        raise UsageError("no data was named: holotype train DATA, a folder or a table.")
    if resume and output is None:
        raise UsageError("--resume goes on with a run: name it, --output RUN.")
    if not checkpoint_every > 0:
        raise UsageError(f"--checkpoint-every is {checkpoint_every:g}, expected minutes above 0.")

    stop_signal = StopSignal(checkpoint_every)

    options: dict[str, Any] = dict(
        recipe_arguments, init_from=init_from, folds=folds, label_pattern=label_pattern,
        group_pattern=group_pattern, label_prefix=label_prefix, on_leak=on_leak, exclude=exclude,
        device=device, save_memory=save_memory, disk_budget=disk_budget,
        deterministic=deterministic, resume=resume, stop_signal=stop_signal, progress=to_stderr(),
    )  # fmt: skip

    def run(recipe: str | None, output: Path | None) -> "TrainedRun":
        with stop_signal.handling_sigterm():
            trained: TrainedRun = pipeline.train(data, recipe=recipe, output=output, **options)
        return trained

    variants = pipeline.list_variants(recipe, recipe_arguments)
    if dry_run:
        if variants:
            raise UsageError(
                f"--dry-run looks at one recipe, and {recipe} has several variants: name one, "
                f"{recipe}#{next(iter(variants))}."
            )
        estimate = pipeline.train(data, recipe=recipe, output=output, dry_run=True, **options)
        return _print_dry_run(estimate, as_json)
    if variants:
        return _train_all_variants(
            variants, run, output or next_run_path(Path(str(recipe)).stem), as_json
        )
    trained = run(recipe, output)
    if as_json:
        print_json(trained.summary())
        return 0
    report = trained.metrics
    for caveat in report.caveats:
        print_message(caveat)
    size = pluralize(report.num_images, "image")
    print_result(f"accuracy  {report['accuracy']} on {size} ({report.part})")
    print_result(f"run       {trained.run.path}")
    print_result(f"report    {trained.run.report / 'index.html'}")
    print_next_command("holotype", "predict", trained.run.path, "IMAGE")
    return 0


def _print_dry_run(estimate: "DryRun", as_json: bool) -> int:
    """What a training would take; nothing was written but what is kept anyway."""
    if as_json:
        print_json(estimate.to_json())
        return 0
    print_result(_sizes(estimate.split_sizes))
    print_result(text_table(("stage", "work", "time", "disk"), estimate_rows(estimate.costs)))
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
    variants: dict[str, str],
    run: "Callable[[str | None, Path | None], TrainedRun]",
    output: Path,
    as_json: bool,
) -> int:
    """Train one after the other; a table of what each cost and what validation says of it."""
    rows = pipeline.train_variants(variants, run, output)
    if as_json:
        print_json({"runs": str(output), "variants": [row.to_json() for row in rows]})
        return 0
    print_result(text_table(pipeline.VariantRow.HEADER, [row.cells() for row in rows]))
    print_result(f"runs      {output}")
    print_next_command("holotype", "predict", output / rows[0].variant, "IMAGE")
    return 0
