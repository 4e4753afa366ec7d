"""Images and a recipe -> a sheet of what the network will see."""

from collections.abc import Mapping
from pathlib import Path

from holotype.dataset.index import Index, read_index
from holotype.errors import EmptyDataset, ImageError, InvalidRecipe, did_you_mean
from holotype.files import atomic_write
from holotype.imaging.preprocessing import Preprocessing
from holotype.progress import Progress
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.contact_sheet import (
    SheetImage,
    contact_sheet,
    mixed_columns,
    view_columns,
)
from holotype.training.data.loader import FramedImages, image_files
from holotype.training.data.mixup import BatchMixing, batch_mixing

MAX_COLUMNS = 8


def draw_augmentation_sheet(
    data: str | Path,
    output: str | Path,
    *,
    recipe: str | Path | None = None,
    model: str | None = None,
    stage: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    overrides: Mapping[str, str] | None = None,
    images: int = 6,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Draw some images as a stage of a recipe shows them to the network, with their labels.

    Args:
        data: a folder with one folder per class, split folders, or a CSV or Parquet table.
        output: the PNG file.
        stage: by name; the last one that changes images unless said otherwise.
        images: how many images, dealt out over the classes.

    Returns:
        The name of the stage that is shown.

    Raises:
        InvalidRecipe: no stage changes anything, or none has this name.
    """
    resolved = resolve_recipe(
        recipe, model=model, seed=seed, image_size=image_size, overrides=overrides
    )
    chosen = _stage(resolved.name, resolved.stages, stage)
    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    sheet_images = _sheet_images(index, resolved.preprocessing, images, progress or Progress())
    columns = view_columns(
        sheet_images, chosen.augmentation or Augmentation(),
        views=min(chosen.views, MAX_COLUMNS), seed=resolved.seed,
    )  # fmt: skip
    mixing = batch_mixing(chosen.mixup, chosen.cutmix, len(index.classes))
    if mixing is not None:
        columns += mixed_columns(columns[-1], mixing, seed=resolved.seed)
    title = f"{resolved.name}, stage {chosen.name!r}: {chosen.views} views of each image"
    page = contact_sheet(
        sheet_images, columns, index.classes, title + _mixing_in_words(chosen, mixing)
    )
    with atomic_write(Path(output)) as temporary:
        page.save(temporary, format="PNG")
    return chosen.name


def _stage(recipe: str, stages: tuple[object, ...], wanted: str | None) -> "GradientStage":
    changing = {
        stage.name: stage
        for stage in stages
        if isinstance(stage, GradientStage) and (stage.views > 1 or stage.mixup or stage.cutmix)
    }
    if not changing:
        raise InvalidRecipe(
            f"recipe {recipe!r} shows every image as it is: none of its stages has more than "
            "one view, mixup or cutmix. Take `--recipe finetune`, or set them."
        )
    if wanted is not None and wanted not in changing:
        raise InvalidRecipe(
            f"recipe {recipe!r} has no stage {wanted!r} that changes images"
            f"{did_you_mean(wanted, changing)} Known: {', '.join(changing)}."
        )
    return changing[wanted] if wanted is not None else list(changing.values())[-1]


def _sheet_images(
    index: "Index", preprocessing: "Preprocessing", count: int, progress: Progress
) -> "list[SheetImage]":
    """The first images of each class in turn; one that cannot be read is named and passed by."""
    files = image_files(index)
    framed = FramedImages(files, preprocessing, memory_bytes=0)
    targets_N = index.targets_N
    labels = index.table["label"].reset_index(drop=True)
    turns = labels.groupby(labels).cumcount()
    found: list[SheetImage] = []
    for position in turns.sort_values(kind="stable").index:
        if len(found) == count:
            break
        try:
            image = framed[position]
        except ImageError as refusal:
            progress.log(f"left out: {refusal}")
            continue
        file = files[position]
        found.append(SheetImage(file.id, file.sha256, image, int(targets_N[position])))
    if not found:
        raise EmptyDataset(f"none of the {len(index)} images in {str(index.root)!r} can be read.")
    return found


def _mixing_in_words(stage: "GradientStage", mixing: "BatchMixing | None") -> str:
    if mixing is None:
        return ""
    whole = stage.trainable == "all"
    text = f"\n{mixing.describe(0 if whole else 1)}"
    if not whole and mixing.mixup is not None:
        text += "; activations are mixed then, and the images here only stand for them"
    return text
