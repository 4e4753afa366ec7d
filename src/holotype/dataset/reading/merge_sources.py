"""Several folders and tables become one listing."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.dataset.reading.data_source import describe_source, source_name
from holotype.dataset.reading.sample_records import ImageListing, ListedImage
from holotype.errors import DatasetError, UsageError

if TYPE_CHECKING:
    import pandas as pd


def merge_listings(
    sources: "Sequence[Path | pd.DataFrame]",
    listings: Sequence[ImageListing],
    *,
    label_prefix: bool,
) -> ImageListing:
    """One listing under the folder that all of them share.

    Equal labels are one class, and equal groups one group: to join two specimens that share a
    number costs a little freedom, to tear one apart would cost the truth of the score.

    Args:
        sources: what the user named, in the order of the listings.
        label_prefix: put the source's name before each label: `herbarium-rosa`.

    Raises:
        DatasetError: an image is in two of the sources.
        UsageError: labels with their prefix would not tell the sources apart.
    """
    root = Path(os.path.commonpath([os.path.abspath(listing.root) for listing in listings]))
    rebased = [_rebased(root, listing) for listing in listings]
    _require_distinct(sources, rebased)
    if label_prefix:
        names = [source_name(source) for source in sources]
        rebased = [
            _with_label_prefix(listing, name) for listing, name in zip(rebased, names, strict=True)
        ]
        _require_distinct_labels(names, rebased)
    return ImageListing(
        root,
        [image for listing in rebased for image in listing.images],
        tuple(path for listing in rebased for path in listing.ignored),
        tuple(path for listing in rebased for path in listing.undecodable_names),
    )


def _rebased(root: Path, listing: ImageListing) -> ImageListing:
    prefix = os.path.relpath(os.path.abspath(listing.root), root).replace(os.sep, "/")
    if prefix == ".":
        return listing
    return ImageListing(
        root,
        [replace(image, path=f"{prefix}/{image.path}") for image in listing.images],
        tuple(f"{prefix}/{path}" for path in listing.ignored),
        tuple(f"{prefix}/{path}" for path in listing.undecodable_names),
    )


def _require_distinct(
    sources: "Sequence[Path | pd.DataFrame]", listings: Sequence[ImageListing]
) -> None:
    number_of: dict[str, int] = {}
    for number, listing in enumerate(listings):
        for image in listing.images:
            first = number_of.setdefault(image.path, number)
            if first != number:
                both = [describe_source(sources[each]) for each in (first, number)]
                raise DatasetError(
                    f"{both[0]!r} and {both[1]!r} both hold {image.path!r}; expected "
                    "every image in one source only. Leave one of them out."
                )


def _with_label_prefix(listing: ImageListing, name: str) -> ImageListing:
    def prefixed(image: ListedImage) -> ListedImage:
        return replace(image, label=f"{name}-{image.label}")

    return replace(listing, images=[prefixed(image) for image in listing.images])


def _require_distinct_labels(names: Sequence[str], listings: Sequence[ImageListing]) -> None:
    number_of: dict[str, int] = {}
    for number, listing in enumerate(listings):
        for image in listing.images:
            first = number_of.setdefault(image.label, number)
            if first != number:
                raise UsageError(
                    f"--label-prefix: two sources make the label {image.label!r} "
                    f"({names[first]!r} and {names[number]!r}); expected sources with different "
                    "names. Rename one of them."
                )
