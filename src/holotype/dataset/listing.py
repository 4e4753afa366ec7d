"""What folders and tables say about the pictures, before any of them is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "val", "test", "cal"]
PARTS: tuple[Part, ...] = ("train", "val", "test")  # those that every split is asked for
ALL_PARTS: tuple[Part, ...] = (*PARTS, "cal")  # cal: held back, for sets of classes and no more

# The names that folders and tables give to the parts, in lower case.
PART_OF_NAME: dict[str, Part] = {
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
class Listed:
    """One picture as a folder or a table names it.

    Attributes:
        path: relative to the root of the listing, with forward slashes.
        split: "" where the picture has no part yet.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Listing:
    """All pictures of a folder or a table, in no particular order.

    Attributes:
        ignored: files that are no pictures by their extension, pictures outside every
            class folder, and class folders without pictures (these end with a slash).
        undecodable: pictures whose names are not valid text, with the bytes escaped.
    """

    root: Path
    images: list[Listed]
    ignored: tuple[str, ...] = ()
    undecodable: tuple[str, ...] = ()
