"""Images as folders and tables list them, before any is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from holotype.imaging.image_warnings import quoted
from holotype.progress import pluralize

Part = Literal["train", "val", "test", "cal"]
IgnoredReason = Literal[
    "no image", "in no class folder", "empty class folder", "written by Holotype", "hidden"
]
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
        day: of its encounter, as ISO 8601 writes it; "" where no dates were asked for.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""
    weight: float = 1.0
    day: str = ""


@dataclass(frozen=True)
class ImageListing:
    """All images of a folder or a table, in no particular order.

    Attributes:
        ignored: files and folders (with a slash at the end) that are not used, and why.
        undecodable_names: images whose names are not valid UTF-8, with these bytes escaped.
        notes: what was read in another way than it is written, in sentences.
    """

    root: Path
    images: list[ListedImage]
    ignored: Mapping[str, IgnoredReason] = field(default_factory=dict)
    undecodable_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_IGNORED_IN_WORDS: dict[IgnoredReason, tuple[str, str]] = {  # one, several
    "no image": ("file that is no image", "files that are no images"),
    "in no class folder": ("image in no class folder", "images in no class folder"),
    "empty class folder": ("class folder without images", "class folders without images"),
    "written by Holotype": ("folder that Holotype wrote", "folders that Holotype wrote"),
    "hidden": (
        "hidden image or folder of the system",
        "hidden images and folders of the system",
    ),
}


def ignored_note(paths: Sequence[str], reason: IgnoredReason) -> str:
    """A sentence that counts what is not used for one reason."""
    first = "" if len(paths) == 1 else "the first: "
    counted = pluralize(len(paths), *_IGNORED_IN_WORDS[reason])
    return f"not used: {counted}, {first}{quoted(paths[0])}."
