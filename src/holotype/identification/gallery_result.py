"""What adding to a gallery did, who is in it, and when each individual was seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holotype.errors import ImageError
from holotype.identification.storage.gallery_images import GalleryImage
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NameConflict:
    """An image that is in the gallery under another name.

    Attributes:
        file: the image, as it was to be added.
        individual: the name that it was to be added under; it was not added.
        known_as: the name that it has.
        known_file: what it was called when it was added under that name.
    """

    file: str
    individual: str
    known_as: str
    known_file: str

    def __str__(self) -> str:
        return (
            f"{self.file!r} is not added as {self.individual!r}: the same image is in the gallery "
            f"as {self.known_as!r} ({self.known_file!r}); rename or remove that one first"
        )


@dataclass(frozen=True, repr=False)
class Addition:
    """What `add` did.

    Attributes:
        num_added: images that are in the gallery now and were not before.
        num_known: images that were there already, under the same name.
        new_individuals: names that were not there before.
        conflicts: images that are there under another name.
        refused: images that could not be used.
        warnings: id of an image -> what of it is not used.
        num_images, num_individuals: of the gallery now.
    """

    num_added: int
    num_known: int
    new_individuals: tuple[str, ...]
    conflicts: tuple[NameConflict, ...]
    refused: tuple[ImageError, ...]
    num_images: int
    num_individuals: int
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        new = pluralize(len(self.new_individuals), "new individual")
        known = f", {pluralize(self.num_known, 'image')} there already" if self.num_known else ""
        return (
            f"{pluralize(self.num_added, 'image')} added, {new}{known}; the gallery holds "
            f"{pluralize(self.num_images, 'image')} of "
            f"{pluralize(self.num_individuals, 'individual')}"
        )

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        return {
            "num_added": self.num_added,
            "num_known": self.num_known,
            "new_individuals": list(self.new_individuals),
            "conflicts": [dict(vars(one)) for one in self.conflicts],
            "refused": [
                {"file": one.file, "problem": one.problem, "reason": one.reason}
                for one in self.refused
            ],
            "num_images": self.num_images,
            "num_individuals": self.num_individuals,
        }


@dataclass(frozen=True)
class Individual:
    """One individual of a gallery.

    Attributes:
        name: as it was added.
        images: of it, by date, encounter and file.
    """

    name: str
    images: tuple[GalleryImage, ...]

    @property
    def encounters(self) -> tuple[str, ...]:
        """Its encounters by date: their names, or the dates of images without; others count not."""
        named = (one.encounter or one.date for one in self.images)
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def dates(self) -> tuple[str, ...]:
        """The dates on which it was seen, sorted as texts."""
        return tuple(sorted({one.date for one in self.images if one.date}))


@dataclass(frozen=True, repr=False)
class Individuals(Sequence[Individual]):
    """Some individuals of a gallery, by name."""

    individuals: tuple[Individual, ...]

    def __len__(self) -> int:
        return len(self.individuals)

    def __getitem__(self, key: Any) -> Any:
        return self.individuals[key]

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Header and rows for a terminal: one row for each individual."""
        rows: list[list[object]] = []
        for one in self.individuals:
            dates = one.dates or ("",)
            rows.append([one.name, len(one.images), len(one.encounters), dates[0], dates[-1]])
        return ("individual", "images", "encounters", "first seen", "last seen"), rows

    def images_table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Header and rows: one row for each image."""
        names = sorted({name for one in self for image in one.images for name in image.attributes})
        rows: list[list[object]] = [
            [one.name, image.date, image.encounter,
             *(image.attributes.get(name, "") for name in names), image.file, image.added]
            for one in self.individuals
            for image in one.images
        ]  # fmt: skip
        return ("individual", "date", "encounter", *names, "file", "added"), rows

    def to_frame(self) -> "pd.DataFrame":
        """One row for each image."""
        header, rows = self.images_table()
        return data_frame({name: [row[n] for row in rows] for n, name in enumerate(header)})

    def to_json(self) -> dict[str, Any]:
        return {
            "individuals": [
                {"name": one.name, "images": [image.to_json() for image in one.images]}
                for one in self.individuals
            ]
        }

    @property
    def _title(self) -> str:
        return pluralize(len(self), "individual")

    def __repr__(self) -> str:
        return short_text(self._title, text_table(*self.table(), max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(*self.table()))
