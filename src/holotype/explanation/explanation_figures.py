"""Explanations as files: an image, the heatmap over it, what they show in words, and look-alikes.

FOLDER/NAME.png             one sheet for each image
FOLDER/explanations.csv     file, class, probability, method, sheet
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.errors import ImageError
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.heatmap import Heatmap, class_index_of, heatmap, size_to_decode
from holotype.explanation.heatmap_drawing import (
    captioned_row,
    captioned_tiles,
    overlay,
    scaled_rgb,
    stack_vertically,
)
from holotype.explanation.nearest_training import (
    FileLookup,
    SimilarImage,
    find_nothing,
    nearest_training_images,
)
from holotype.files import atomic_write, write_bytes
from holotype.imaging.decode import Image, decode
from holotype.progress import ProgressCallback

TABLE = "explanations.csv"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What one image's sheet says.

    Attributes:
        file: the image.
        output: the PNG file.
        heatmap: the heatmap.
        similar_images: training images that look like it, where they were asked for.
    """

    file: Path
    output: Path
    heatmap: Heatmap
    similar_images: tuple[SimilarImage, ...] = ()


def explain(
    bundle: Bundle,
    path: str | Path,
    output: str | Path,
    *,
    class_name: str | None = None,
    explain_method: ExplainMethod = ExplainMethod(),  # noqa: B008 - a frozen value
    num_similar: int = 0,
    find_file: FileLookup = find_nothing,
) -> Heatmap:
    """Write a PNG: the image, the heatmap over it, and what they show in words.

    Args:
        bundle: the classifier.
        path: the image.
        output: the PNG file to write.
        class_name: the class to look for; the predicted one by default.
        explain_method: how to look.
        num_similar: so many training images that look most alike stand below it.
        find_file: where those images are now.

    Raises:
        ImageError: the image cannot be used.
        UnknownClass: the classifier has no such class.
        UsageError: this classifier cannot be explained this way.
    """
    class_index = None if class_name is None else class_index_of(bundle, class_name)
    image = decode(Path(path), minimum_size=size_to_decode(bundle))
    found = heatmap(bundle, image, class_index, explain_method=explain_method)
    similar_images = (
        nearest_training_images(bundle, image, num_similar, find_file=find_file)
        if num_similar
        else []
    )
    _write(_drawn(bundle, image, found, similar_images), Path(output))
    return found


def explain_all(
    bundle: Bundle,
    files: Sequence[Path],
    folder: str | Path,
    *,
    class_name: str | None = None,
    explain_method: ExplainMethod = ExplainMethod(),  # noqa: B008 - a frozen value
    num_similar: int = 0,
    find_file: FileLookup = find_nothing,
    on_progress: ProgressCallback = lambda done, total: None,
) -> tuple[list[Explanation], list[ImageError]]:
    """One sheet for each image, in a folder, and a table of them; a bad image costs itself.

    Returns:
        The sheets, and the refusals of images that could not be used.
    """
    folder = Path(folder)
    class_index = None if class_name is None else class_index_of(bundle, class_name)
    sheets: list[Explanation] = []
    refused: list[ImageError] = []
    for done, (file, output) in enumerate(zip(files, _outputs(files, folder), strict=True), 1):
        try:
            image = decode(file, minimum_size=size_to_decode(bundle))
        except ImageError as refusal:
            refused.append(refusal)
        else:
            found = heatmap(bundle, image, class_index, explain_method=explain_method)
            similar_images = (
                nearest_training_images(bundle, image, num_similar, find_file=find_file)
                if num_similar
                else []
            )
            _write(_drawn(bundle, image, found, similar_images), output)
            sheets.append(Explanation(file, output, found, tuple(similar_images)))
        on_progress(done, len(files))
    write_bytes(folder / TABLE, _table(sheets).encode("utf-8", "backslashreplace"))
    return sheets, refused


def _drawn(
    bundle: Bundle, image: Image, found: Heatmap, similar_images: Sequence[SimilarImage]
) -> PillowImage.Image:
    rgb = scaled_rgb(image, bundle.preprocessing.background, longest=480, shortest=240)
    laid_over = overlay(np.asarray(rgb), found.resized_to(rgb.size))
    above = captioned_row(
        [rgb, PillowImage.fromarray(laid_over)],
        [(f"{found.class_name}: {found.probability:.1%}", 18), *_meaning(found)],
    )
    if not similar_images:
        return above
    heading = captioned_row([], [("The training images that look most alike to the network:", 12)])
    captions = [
        [one.class_name, f"cosine {one.cosine:.3f}", Path(one.name).name] for one in similar_images
    ]
    return stack_vertically(
        [above, heading, captioned_tiles([one.image for one in similar_images], captions)]
    )


def _meaning(found: Heatmap) -> list[tuple[str, int]]:
    if not found.is_class_specific:
        caption = "bright: where the network looks, whatever the class"
    elif found.values_hw.any():
        caption = f"bright: what speaks for {found.class_name!r} rather than for another class"
    else:
        caption = f"no place in this image speaks for {found.class_name!r}"
    return [(caption, 12), (found.method, 12)]


def _outputs(files: Sequence[Path], folder: Path) -> Iterator[Path]:
    """A name of its own for each: the image's, with a number where two have the same."""
    taken: set[str] = set()
    for file in files:
        stem = name = file.stem
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        yield folder / f"{name}.png"


def _write(page: PillowImage.Image, output: Path) -> None:
    with atomic_write(output) as temporary:
        page.save(temporary, format="PNG")


def _table(sheets: Sequence[Explanation]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    with_similar = any(one.similar_images for one in sheets)
    header = ["file", "class", "probability", "method", "sheet"]
    writer.writerow([*header, "similar"] if with_similar else header)
    for one in sheets:
        found = one.heatmap
        row = [one.file, found.class_name, found.probability, found.method, one.output.name]
        names = " ".join(f"{other.class_name}:{other.name}" for other in one.similar_images)
        writer.writerow([*row, names] if with_similar else row)
    return text.getvalue()
