"""What folders and tables say about the images, before any of them is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "val", "test", "cal"]
PARTS: tuple[Part, ...] = ("train", "val", "test")  # those that every split is asked for
ALL_PARTS: tuple[Part, ...] = (*PARTS, "cal")  # cal: held back, for sets of classes and no more

# The names that folders and tables give to the parts, in lower case.
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
    """One image as a folder or a table names it.

    Attributes:
        path: relative to the root of the listing, with forward slashes.
        split: "" where the image has no part yet.
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
        ignored: files that are no images by their extension, images outside every
            class folder, and class folders without images (these end with a slash).
        undecodable_names: images whose names are not valid text, with the bytes escaped.
    """

    root: Path
    images: list[ListedImage]
    ignored: tuple[str, ...] = ()
    undecodable_names: tuple[str, ...] = ()
