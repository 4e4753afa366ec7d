"""Draw images as a stage of a recipe shows them to the network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image as PillowImage

from holotype.arguments import require_file_place
from holotype.dataset.atomic_directory import require_apart_from_images
from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.index import Index, read_index
from holotype.dataset.reading.source_types import DataSource, as_sources
from holotype.errors import EmptyDataset, ImageError, InvalidRecipe, UsageError, did_you_mean
from holotype.extras import with_install_advice
from holotype.files import atomic_write, require_writable
from holotype.imaging.preprocessing import Preprocessing
from holotype.notebook import html_image, html_result
from holotype.progress import Progress, default_progress
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.config.resolve import Overrides, resolve_recipe
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.contact_sheet import (
    SheetImage,
    contact_sheet,
    mixed_columns,
    view_columns,
)
from holotype.training.data.loader import FramedImages, image_files
from holotype.training.data.mixup import BatchMixing, batch_mixing
from holotype.training.symmetry import is_to_be_measured, with_symmetry

MAX_COLUMNS = 8


@dataclass(frozen=True, repr=False)
class ContactSheet:
    """Images as a stage of a recipe shows them to the network.

    Attributes:
        path: the PNG file.
        image: what is in it.
        stage: the name of the stage.
    """

    path: Path
    image: PillowImage.Image
    stage: str

    def __repr__(self) -> str:
        return f"Contact sheet of stage {self.stage!r} in {self.path}"

    def _repr_html_(self) -> str:
        return html_result(repr(self), html_image(self.image))


@with_install_advice
def augment(
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path,
    recipe: str | Path | None = None,
    model: str | None = None,
    stage: str | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    overrides: Overrides | None = None,
    images: int = 6,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    progress: Progress | None = None,
) -> ContactSheet:
    """Draw some images as a stage of a recipe shows them to the network, with their labels.

    Example:
        >>> holotype.augment("photos", output="sheet.png", images=3)  # doctest: +SKIP
        Contact sheet of stage 'finetune' in sheet.png

    Args:
        data: a folder with one folder per class, a CSV or Parquet table or a DataFrame.
        output: the PNG file to write.
        recipe: as `train` takes it.
        model: decides the size of the images.
        stage: by name; the last one that changes images unless given.
        seed: with that of a training run, the views are those of that run.
        image_size: height and width that the network sees, in pixels.
        overrides: fields of the recipe, such as `{"stages.1.views": 8}`.
        images: how many images, 1 to 100, taken in turn from each class.
        label_pattern: a regular expression that finds the label in a file's name, or
            `column:NAME` of a table.
        group_pattern: where the group of an image is read from.

    Raises:
        InvalidRecipe: no stage changes anything, or none has this name.
        UsageError: the output is no PNG, or `images` is out of range.
    """
    path = Path(output)
    if path.suffix.lower() != ".png":
        raise UsageError(f"--output {str(output)!r} must end in .png, since a PNG is written.")
    require_file_place(path)
    require_apart_from_images(path, as_sources(data))
    if not 1 <= images <= 100:
        raise UsageError(f"--images {images} is out of range; expected 1 to 100.")
    require_writable(path)
    resolved = resolve_recipe(
        recipe, model=model, seed=seed, image_size=image_size, overrides=overrides
    )
    progress = progress or default_progress()
    drawn = with_symmetry(resolved, "dihedral")
    chosen = _stage(drawn.name, drawn.stages, stage)
    if is_to_be_measured(resolved):
        progress.log(
            "symmetry: auto is measured when training; drawn are all mirror images and turns"
        )
    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    progress.log_all(index.reading_notes())
    if resolved.bits == "auto":
        may_be_deep = ~index.table["format"].isin(["JPEG", "MPO", "GIF", "WEBP", "BMP", "AVIF"])
        deep = replace(index, table=index.table[may_be_deep])
        tolerate = resolved.tolerate_truncated
        resolved = resolved.with_bits(compute_fingerprints(deep, tolerate_truncated=tolerate).bits)
    sheet_images = _sheet_images(index, resolved.preprocessing, images, progress)
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
    with atomic_write(path) as temporary:
        page.save(temporary, format="PNG")
    return ContactSheet(path, page, chosen.name)


def _stage(recipe: str, stages: tuple[object, ...], wanted: str | None) -> GradientStage:
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
    index: Index, preprocessing: Preprocessing, count: int, progress: Progress
) -> list[SheetImage]:
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
        raise EmptyDataset(f"none of the {len(index):,} images in {str(index.root)!r} can be read.")
    return found


def _mixing_in_words(stage: GradientStage, mixing: BatchMixing | None) -> str:
    if mixing is None:
        return ""
    whole = stage.trainable == "all"
    text = f"\n{mixing.describe(0 if whole else 1)}"
    if not whole and mixing.mixup is not None:
        text += "; activations are mixed then, and the images here only stand for them"
    return text
