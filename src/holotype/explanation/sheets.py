"""Explanations as files: a picture, the heatmap over it, what they show in words, and look-alikes.

FOLDER/NAME.png             one sheet for each picture
FOLDER/explanations.csv     file, class, probability, method, sheet
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.errors import ImageRefused
from holotype.explanation.drawing import overlay, sheet, shown, stacked, tiles
from holotype.explanation.heatmap import Heatmap, class_index_of, heatmap, size_to_decode
from holotype.explanation.methods import Way
from holotype.explanation.similar import FileOf, Similar, nowhere, similar
from holotype.files import replacing, write_bytes
from holotype.images import Image, decode

TABLE = "explanations.csv"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Sheet:
    """What one picture's sheet says.

    Attributes:
        file: the picture.
        output: the PNG file.
        found: the heatmap.
        alike: training pictures that look like it, where they were asked for.
    """

    file: Path
    output: Path
    found: Heatmap
    alike: tuple[Similar, ...] = ()


def explain(
    bundle: Bundle,
    path: str | Path,
    output: str | Path,
    *,
    class_name: str | None = None,
    way: Way = Way(),  # noqa: B008 - a frozen value
    num_similar: int = 0,
    file_of: FileOf = nowhere,
) -> Heatmap:
    """Write a PNG: the picture, the heatmap over it, and what they show in words.

    Args:
        bundle: the classifier.
        path: the picture.
        output: the PNG file to write.
        class_name: the class to look for; the predicted one by default.
        way: how to look.
        num_similar: so many training pictures that look most alike stand below it.
        file_of: where those pictures are now.

    Raises:
        ImageRefused: the picture cannot be used.
        UnknownClass: the classifier has no such class.
        UsageError: this classifier cannot be explained this way.
    """
    class_index = None if class_name is None else class_index_of(bundle, class_name)
    image = decode(Path(path), minimum_size=size_to_decode(bundle))
    found = heatmap(bundle, image, class_index, way=way)
    alike = similar(bundle, image, num_similar, file_of=file_of) if num_similar else []
    _write(_drawn(bundle, image, found, alike), Path(output))
    return found


def explain_all(
    bundle: Bundle,
    files: Sequence[Path],
    folder: str | Path,
    *,
    class_name: str | None = None,
    way: Way = Way(),  # noqa: B008 - a frozen value
    num_similar: int = 0,
    file_of: FileOf = nowhere,
    on_progress: Progress = lambda done, total: None,
) -> tuple[list[Sheet], list[ImageRefused]]:
    """One sheet for each picture, in a folder, and a table of them; a bad picture costs itself.

    Returns:
        The sheets, and the refusals of pictures that could not be used.
    """
    folder = Path(folder)
    class_index = None if class_name is None else class_index_of(bundle, class_name)
    sheets: list[Sheet] = []
    refused: list[ImageRefused] = []
    for done, (file, output) in enumerate(zip(files, _outputs(files, folder), strict=True), 1):
        try:
            image = decode(file, minimum_size=size_to_decode(bundle))
        except ImageRefused as refusal:
            refused.append(refusal)
        else:
            found = heatmap(bundle, image, class_index, way=way)
            alike = similar(bundle, image, num_similar, file_of=file_of) if num_similar else []
            _write(_drawn(bundle, image, found, alike), output)
            sheets.append(Sheet(file, output, found, tuple(alike)))
        on_progress(done, len(files))
    write_bytes(folder / TABLE, _table(sheets).encode("utf-8", "backslashreplace"))
    return sheets, refused


def _drawn(
    bundle: Bundle, image: Image, found: Heatmap, alike: Sequence[Similar]
) -> PillowImage.Image:
    picture = shown(image, bundle.preprocessing.background, longest=480, shortest=240)
    laid_over = overlay(np.asarray(picture), found.over(picture.size))
    above = sheet(
        [picture, PillowImage.fromarray(laid_over)],
        [(f"{found.class_name}: {found.probability:.1%}", 18), *_meaning(found)],
    )
    if not alike:
        return above
    heading = sheet([], [("The training pictures that look most alike to the network:", 12)])
    captions = [[one.class_name, f"cosine {one.cosine:.3f}", Path(one.name).name] for one in alike]
    return stacked([above, heading, tiles([one.picture for one in alike], captions)])


def _meaning(found: Heatmap) -> list[tuple[str, int]]:
    if not found.is_of_class:
        said = "bright: where the network looks, whatever the class"
    elif found.cells_hw.any():
        said = f"bright: what speaks for {found.class_name!r} rather than for another class"
    else:
        said = f"no place in this picture speaks for {found.class_name!r}"
    return [(said, 12), (found.method, 12)]


def _outputs(files: Sequence[Path], folder: Path) -> Iterator[Path]:
    """A name of its own for each: the picture's, with a number where two have the same."""
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
    with replacing(output) as temporary:
        page.save(temporary, format="PNG")


def _table(sheets: Sequence[Sheet]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    with_similar = any(one.alike for one in sheets)
    header = ["file", "class", "probability", "method", "sheet"]
    writer.writerow([*header, "similar"] if with_similar else header)
    for one in sheets:
        found = one.found
        row = [one.file, found.class_name, found.probability, found.method, one.output.name]
        names = " ".join(f"{other.class_name}:{other.name}" for other in one.alike)
        writer.writerow([*row, names] if with_similar else row)
    return text.getvalue()
