"""Images as folders and tables list them, before any is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "val", "test", "cal"]
PARTS: tuple[Part, ...] = ("train", "val", "test")  # of every split
ALL_PARTS: tuple[Part, ...] = (*PARTS, "cal")  # cal: the calibration set of prediction sets

# Lower-case names of parts in folders and tables.
PART_ALIASES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "cal": "cal",
    "calibration": "cal",
}


@dataclass(frozen=True)
class ListedImage:
    """One image of a folder or a table.

    Attributes:
        path: relative to the root of the listing, with forward slashes.
        split: its part; "" if it has none yet.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class ImageListing:
    """All images of a folder or a table, in no particular order.

    Attributes:
        ignored: files that are no images by their extension, images outside class folders, and
            class folders without images (with a slash at the end).
        undecodable_names: images whose names are not valid UTF-8, with these bytes escaped.
    """

    root: Path
    images: list[ListedImage]
    ignored: tuple[str, ...] = ()
    undecodable_names: tuple[str, ...] = ()
