"""Explain images: the heatmap of a class, and the training images most like them.

FOLDER/NAME.png             one sheet for each image
FOLDER/explanations.csv     file, class, probability, method, sheet

Shape suffixes: H height, W width of an upright image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import ImageSource
from holotype.dataset.safe_filenames import truncate_name
from holotype.errors import ImageError
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.compute_heatmap import Heatmap, class_index_of, heatmap, size_to_decode
from holotype.explanation.explanation_figures import draw_sheet
from holotype.explanation.heatmap_drawing import overlay, scaled_rgb
from holotype.explanation.nearest_training import (
    FileLookup,
    SimilarImage,
    find_nothing,
    nearest_training_images,
)
from holotype.files import atomic_write, csv_text, write_bytes
from holotype.imaging.image_warnings import warnings_as_json
from holotype.notebook import data_frame, html_image, html_result, html_table
from holotype.progress import ProgressCallback, pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

TABLE = "explanations.csv"
NOTEBOOK_SIDE = 480  # pixels of the longer side of an overlay in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The evidence for a class in one image.

    Attributes:
        source: the image.
        class_heatmap: over the frame that the network saw.
        size: width and height of the upright image.
        background: the colour below transparent pixels.
        similar: the training images most like it, where they were asked for.
        sheet: the PNG file that was written; None where none was.
        warnings: what of the image is not used, such as further pages.
    """

    source: ImageSource
    class_heatmap: Heatmap
    size: tuple[int, int]
    background: tuple[int, int, int]
    similar: tuple[SimilarImage, ...] = ()
    sheet: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path of the image, or its place such as `<image 3>`."""
        return self.source.id

    @property
    def label(self) -> str:
        """The explained class: the predicted one, unless another was named."""
        return self.class_heatmap.class_name

    @property
    def probability(self) -> float:
        """Of the class, for the whole image."""
        return self.class_heatmap.probability

    @property
    def method(self) -> str:
        """How the map was made, in words."""
        return self.class_heatmap.method

    def to_json(self) -> dict[str, Any]:
        """What is known of it but the map, as `holotype explain --json` prints it."""
        return {
            "file": self.file,
            "class": self.label,
            "probability": self.probability,
            "method": self.method,
            "sheet": None if self.sheet is None else str(self.sheet),
        }

    @property
    def heatmap(self) -> NDArray[np.float32]:
        """(H, W) in [0, 1] over the upright image, 1 where the evidence is greatest."""
        return self.class_heatmap.resized_to(self.size)

    @property
    def overlay(self) -> PillowImage.Image:
        """The heatmap over a grey copy of the image: RGB, of the image's own size.

        Raises:
            ImageError: the file of the image is no longer what it was.
        """
        return self.overlay_of_size()

    def overlay_of_size(self, longest: int | None = None) -> PillowImage.Image:
        """The same, with at most so many pixels at its longer side.

        Raises:
            ImageError: the file of the image is no longer what it was.
        """
        longest = max(self.size) if longest is None else longest
        decode_at, _ = self.source.open()
        image = decode_at(None, self.class_heatmap.preprocessing.decode_options)
        rgb = scaled_rgb(image, self.background, longest=longest)
        heat_HW = self.class_heatmap.resized_to(rgb.size)
        return PillowImage.fromarray(overlay(np.asarray(rgb), heat_HW))

    def __repr__(self) -> str:
        return short_text(
            f"Explanation({self.file}: {self.label} {self.probability:.3f}; {self.method})"
        )

    def _repr_html_(self) -> str:
        shown = html_image(self.overlay_of_size(NOTEBOOK_SIDE), alt=f"heatmap of {self.label}")
        return html_result(repr(self), shown)


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Sequence[Explanation]):
    """The explanations of several images, whose sheets are on disk.

    Attributes:
        path: the PNG file of one image, or the folder of several.
        refused: the images that could not be used.
    """

    path: Path
    explanations: tuple[Explanation, ...]
    refused: tuple[ImageError, ...] = ()

    def __len__(self) -> int:
        return len(self.explanations)

    @overload
    def __getitem__(self, row: int) -> Explanation: ...

    @overload
    def __getitem__(self, row: slice) -> tuple[Explanation, ...]: ...

    def __getitem__(self, row: int | slice) -> "Explanation | tuple[Explanation, ...]":
        return self.explanations[row]

    @property
    def warnings(self) -> dict[str, tuple[str, ...]]:
        """File of an image -> what of it is not used, such as further pages."""
        return {one.file: one.warnings for one in self if one.warnings}

    @property
    def _title(self) -> str:
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"Explanations of {pluralize(len(self), 'image')}{refused} in {self.path}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows for a terminal."""
        rows = [[one.file, one.label, f"{one.probability:.3f}", str(one.sheet)] for one in self]
        return ["file", "class", "probability", "sheet"], rows

    def __repr__(self) -> str:
        return short_text(self._title, text_table(*self.table(), max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        columns = self.columns()
        rows = list(zip(*columns.values(), strict=True))
        return html_result(self._title, html_table(list(columns), rows))

    def to_json(self) -> dict[str, Any]:
        """As `holotype explain --json` prints it."""
        return {
            "explanations": [one.to_json() for one in self],
            "refused": [str(refusal) for refusal in self.refused],
            "warnings": warnings_as_json(self.warnings),
        }

    def to_frame(self) -> "pd.DataFrame":
        """The columns of `explanations.csv`.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return data_frame(self.columns())

    def columns(self) -> dict[str, list[Any]]:
        """What `explanations.csv` holds, by column; `similar` where any were asked for."""
        columns: dict[str, list[Any]] = {
            "file": [one.file for one in self],
            "class": [one.label for one in self],
            "probability": [one.probability for one in self],
            "method": [one.method for one in self],
            "sheet": [one.sheet and one.sheet.name for one in self],
        }
        if any(one.similar for one in self):
            columns["similar"] = [
                " ".join(f"{other.class_name}:{other.name}" for other in one.similar)
                for one in self
            ]
        return columns


@dataclass(frozen=True, eq=False)
class Explainer:
    """Explains images with one classifier, in one way.

    Attributes:
        bundle: the classifier.
        class_name: the class to explain; None: the predicted one of each image.
        method: of the heatmap.
        num_similar: so many of the most similar training images are found too.
        find_file: where those images are now.

    Raises:
        UnknownClass: the classifier has no class of this name.
    """

    bundle: Bundle
    class_name: str | None = None
    method: ExplainMethod = ExplainMethod()  # noqa: RUF009 - a frozen value
    num_similar: int = 0
    find_file: FileLookup = find_nothing

    def __post_init__(self) -> None:
        if self.class_name is not None:
            class_index_of(self.bundle, self.class_name)

    def explain(self, source: ImageSource, sheet: Path | None = None) -> Explanation:
        """The explanation of one image, drawn as a PNG where a path for it is given.

        Raises:
            ImageError: the image cannot be used.
            UsageError: this classifier cannot be explained this way.
        """
        bundle, name = self.bundle, self.class_name
        decode_at, _ = source.open()
        image = decode_at(size_to_decode(bundle), bundle.preprocessing.decode_options)
        class_index = None if name is None else class_index_of(bundle, name)
        found = heatmap(bundle, image, class_index, explain_method=self.method)
        similar = (
            nearest_training_images(bundle, image, self.num_similar, find_file=self.find_file)
            if self.num_similar
            else []
        )
        if sheet is not None:
            page = draw_sheet(image, bundle.preprocessing.background, found, similar)
            with atomic_write(sheet) as temporary:
                page.save(temporary, format="PNG")
        background = bundle.preprocessing.background
        return Explanation(
            source, found, image.stored_size, background, tuple(similar), sheet, image.warnings
        )

    def write_sheets(
        self,
        sources: Sequence[ImageSource],
        folder: Path,
        *,
        on_progress: ProgressCallback = lambda done, total: None,
    ) -> Explanations:
        """One sheet for each image, and a table of them; an image that cannot be used is refused.

        Raises:
            UsageError: this classifier cannot be explained this way.
        """
        explained: list[Explanation] = []
        refused: list[ImageError] = []
        for done, (source, sheet) in enumerate(
            zip(sources, _sheet_paths(sources, folder), strict=True), 1
        ):
            try:
                explained.append(self.explain(source, sheet))
            except ImageError as refusal:
                refused.append(refusal)
            on_progress(done, len(sources))
        explanations = Explanations(folder, tuple(explained), tuple(refused))
        write_bytes(
            folder / TABLE, csv_text(explanations.columns()).encode("utf-8", "backslashreplace")
        )
        return explanations


MAX_STEM_BYTES = 240  # which leaves room for a number and `.png` in the name of a file


def _sheet_paths(sources: Sequence[ImageSource], folder: Path) -> list[Path]:
    """A name of its own for each: the image's, with a number where two have the same."""
    names: dict[str, str] = {}  # in lower case, for file systems that know no other
    for source in sources:
        stem, number = truncate_name(source.stem, max_bytes=MAX_STEM_BYTES), 1
        name = stem
        while name.casefold() in names:
            number += 1
            name = f"{stem}-{number}"
        names[name.casefold()] = name
    return [folder / f"{name}.png" for name in names.values()]
