"""Merge the listings of several folders and tables into one."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.dataset.reading.folder_walk import printable
from holotype.dataset.reading.sample_records import ImageListing
from holotype.dataset.reading.source_types import describe_source, source_name
from holotype.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd


def merge_listings(
    sources: "Sequence[Path | pd.DataFrame]",
    listings: Sequence[ImageListing],
    *,
    label_prefix: bool,
) -> ImageListing:
    """One listing below the folder that all sources share.

    Equal labels are one class and equal groups one group, even between sources: joining two
    specimens of one name costs little, separating one specimen would bias the score.

    Args:
        sources: of the listings, in the same order.
        label_prefix: put the source's name before each label: `herbarium-rosa`.

    Raises:
        DatasetError: an image is in two sources.
        UsageError: two sources give the same prefixed label.
    """
    root = Path(os.path.commonpath([os.path.abspath(listing.root) for listing in listings]))
    names = [source_name(source) for source in sources]
    rebased = [
        _rebase(listing, root, f"{name}-" if label_prefix else "")
        for name, listing in zip(names, listings, strict=True)
    ]
    if shared := _first_in_two([(image.path for image in each.images) for each in rebased]):
        path, one, other = shared
        raise DatasetError(
            f"{describe_source(sources[one])!r} and {describe_source(sources[other])!r} both hold "
            f"{path!r}; expected every image in one source only. Leave one of them out."
        )
    labels = [(image.label for image in each.images) for each in rebased]
    if label_prefix and (shared := _first_in_two(labels)):
        label, one, other = shared
        raise UsageError(
            f"--label-prefix: two sources make the label {label!r} ({names[one]!r} and "
            f"{names[other]!r}); expected sources with different names. Rename one of them."
        )
    return ImageListing(
        root,
        [image for listing in rebased for image in listing.images],
        {path: reason for listing in rebased for path, reason in listing.ignored.items()},
        tuple(path for listing in rebased for path in listing.undecodable_names),
        tuple(dict.fromkeys(note for listing in listings for note in listing.notes)),
    )


def _rebase(listing: ImageListing, root: Path, label_prefix: str) -> ImageListing:
    """The listing with paths relative to a folder above its root, and prefixed labels.

    Where the path between the two is not valid UTF-8, no image has a name that can be written.
    """
    folder = os.path.relpath(os.path.abspath(listing.root), root).replace(os.sep, "/")
    prefix = "" if folder == "." else f"{folder}/"
    shown = printable(prefix)
    images = listing.images if shown == prefix else []
    unnamed = [] if shown == prefix else [image.path for image in listing.images]
    return ImageListing(
        root,
        [
            replace(image, path=prefix + image.path, label=label_prefix + image.label)
            for image in images
        ],
        {shown + path: reason for path, reason in listing.ignored.items()},
        tuple(shown + path for path in (*unnamed, *listing.undecodable_names)),
    )


def _first_in_two(values: Sequence[Iterable[str]]) -> tuple[str, int, int] | None:
    """The first value that is in two of several collections, and their positions."""
    position_of: dict[str, int] = {}
    for position, collection in enumerate(values):
        for value in collection:
            if position_of.setdefault(value, position) != position:
                return value, position_of[value], position
    return None
