"""`holotype augment`: a sheet of what the network will see."""

from pathlib import Path

from holotype.cli.options import GroupPattern, LabelPattern, Settings
from holotype.cli.output import print_next_command, print_result
from holotype.dataset.reading.source_types import pattern_words
from holotype.pipeline.augment import augment as draw_sheet
from holotype.progress import to_stderr


def augment(
    data: Path,
    /,
    *,
    output: Path,
    recipe: str | None = None,
    model: str | None = None,
    stage: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    settings: Settings = (),
    images: int = 6,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
) -> int:
    """Write some images under the views of a recipe, with their labels as they are mixed.

    Args:
        data: A folder with one folder per class, or a CSV or Parquet table.
        output: The PNG file to write.
        recipe: A name or a YAML file, as for `holotype train`.
        model: Decides the size of the images; a name that `holotype models` lists.
        stage: Of the recipe; the last one that changes images unless said otherwise.
        seed: Of the recipe: with that of a training run, the views are those of that run.
        image_size: Height and width that the network sees, in pixels.
        images: How many images to show, taken in turn from each class.
    """
    sheet = draw_sheet(
        data,
        output=output,
        recipe=recipe,
        model=model,
        stage=stage,
        seed=seed,
        image_size=image_size,
        overrides=settings,
        images=images,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        progress=to_stderr(),
    )
    print_result(f"stage  {sheet.stage}")
    print_result(f"sheet  {sheet.path}")
    options = ["--recipe", recipe] if recipe else []
    options += ["--model", model] if model else []
    options += ["--seed", str(seed)] if seed is not None else []
    options += ["--image-size", str(image_size)] if image_size is not None else []
    options += [word for setting in settings for word in ("--set", setting)]
    options += pattern_words(label_pattern, group_pattern)
    print_next_command("holotype", "train", data, *options)
    return 0
