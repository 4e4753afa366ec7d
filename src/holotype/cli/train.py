"""`holotype train`: labelled pictures become a run, its bundle and its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import AsJson, Device, GroupPattern, LabelPattern
from holotype.cli.output import show, show_json, tell, tell_next
from holotype.errors import UsageError
from holotype.narration import to_stderr


def train(
    data: Path | None = None,
    /,
    *,
    output: Path | None = None,
    model: str | None = None,
    recipe: str = "finetune",
    seed: int | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    image_size: int | None = None,
    settings: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            show_default=False,
            help="KEY=VALUE: any field of the recipe, such as stages.1.epochs=3. Repeatable.",
        ),
    ] = (),
    ratios: tuple[float, float, float] | None = None,
    split_seed: int | None = None,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    device: Device = "auto",
    print_recipe: Annotated[bool, Parameter(show_default=False)] = False,
    as_json: AsJson = False,
) -> int:
    """Train, evaluate once on the test part, and write the run.

    Args:
        data: A folder with one folder per class, or a CSV or Parquet table.
        output: The run directory; runs/NAME-1, -2, … unless said otherwise.
        model: A name that `holotype models` lists, or timm:NAME.
        recipe: linear (seconds), finetune, or a YAML file.
        seed: Of everything random in training; the split has its own.
        weights: pretrained, none, or a file.
        epochs: Of the recipe's last stage.
        batch_size: Of the recipe's last stage.
        learning_rate: Of the recipe's last stage.
        image_size: Height and width that the network sees, in pixels.
        ratios: Train, validation and test parts; they sum to 1 (0.7 0.15 0.15).
        split_seed: Of the split (42).
        print_recipe: Print the resolved recipe as YAML, to edit, and stop.
    """
    overrides = _key_values(settings)
    if print_recipe:
        from holotype.training.recipe import resolve_recipe

        resolved = resolve_recipe(
            recipe,
            model=model,
            weights=weights,
            seed=seed,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            image_size=image_size,
            ratios=ratios,
            split_seed=split_seed,
            overrides=overrides,
        )
        show(resolved.to_yaml().rstrip())
        return 0
    if data is None:
        raise UsageError("no data was named: holotype train DATA, a folder or a table.")

    from holotype import road

    trained = road.train(
        data,
        output=output,
        model=model,
        recipe=recipe,
        seed=seed,
        weights=weights,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        image_size=image_size,
        overrides=overrides,
        ratios=ratios,
        split_seed=split_seed,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        device=device,
        narrator=to_stderr(),
    )
    if as_json:
        show_json(trained.summary())
        return 0
    report = trained.metrics
    for caveat in report.caveats:
        tell(caveat)
    show(f"accuracy  {report['accuracy']} on {report.num_images:,} pictures ({report.part})")
    show(f"run       {trained.run.path}")
    show(f"report    {trained.run.report / 'index.html'}")
    tell_next("holotype", "predict", trained.run.path, "PICTURE")
    return 0


def _key_values(settings: Sequence[str]) -> dict[str, str]:
    """`("a.b=1",)` becomes `{"a.b": "1"}`."""
    for setting in settings:
        if "=" not in setting:
            raise UsageError(f"--set {setting!r} has no '='; expected KEY=VALUE, such as seed=1.")
    return {key.strip(): value for key, value in (s.split("=", 1) for s in settings)}
