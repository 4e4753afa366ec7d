"""Read the group of each image (specimen, patient, …) from its path, or name its columns."""

from dataclasses import replace
from pathlib import PurePosixPath

from holotype.dataset.class_names import class_name
from holotype.dataset.reading.folders import compile_pattern
from holotype.dataset.reading.sample_records import PART_ALIASES, ImageListing, ListedImage
from holotype.errors import InvalidPattern

PARENT_FOLDER = "parent-folder"
COLUMN_PREFIX = "column:"
DATE_SIGN = "@"  # column:ENCOUNTER@DATE


def group_column(group_pattern: str | None) -> str | None:
    """The NAME in a pattern `column:NAME` or `column:NAME@DATE`; None for other patterns.

    It is "group" where the pattern names a date only, `column:@DATE`.
    """
    if group_pattern is None or not group_pattern.startswith(COLUMN_PREFIX):
        return None
    name, sign, _ = group_pattern.removeprefix(COLUMN_PREFIX).partition(DATE_SIGN)
    return name.strip() or ("group" if sign else "")


def label_column(label_pattern: str | None) -> str | None:
    """The NAME in a pattern `column:NAME`; None for other patterns."""
    if label_pattern is None or not label_pattern.startswith(COLUMN_PREFIX):
        return None
    return label_pattern.removeprefix(COLUMN_PREFIX).strip()


def date_column(group_pattern: str | None) -> str | None:
    """The DATE in a pattern `column:NAME@DATE`; None for other patterns."""
    if group_pattern is None or not group_pattern.startswith(COLUMN_PREFIX):
        return None
    _, sign, name = group_pattern.partition(DATE_SIGN)
    return name.strip() if sign else None


def with_groups(listing: ImageListing, pattern: str) -> ImageListing:
    """The listing with the group of each image read from its path.

    Args:
        pattern: a regular expression with a group, or `parent-folder`.

    Raises:
        InvalidPattern: a path does not match, or the listing has groups already.
    """
    if any(image.group for image in listing.images):
        raise InvalidPattern(
            "--group-pattern was given, but the table has a column 'group'; leave one out."
        )
    if pattern == PARENT_FOLDER:
        return replace(listing, images=_groups_from_parent_folders(listing.images))
    return replace(listing, images=_groups_from_pattern(listing.images, pattern))


def _groups_from_parent_folders(images: list[ListedImage]) -> list[ListedImage]:
    """The folder of each image below its split folder: train/cat/s1 and test/cat/s1 are one group.

    A class folder is refused as a group: such a class could not be split.
    """
    named = [replace(image, group=_parent_folder(image)) for image in images]
    bare = [image.path for image in named if image.group in (".", image.label)]
    if bare:
        raise InvalidPattern(
            f"--group-pattern {PARENT_FOLDER}: {len(bare)} of {len(named)} images lie directly "
            f"in their class folder (the first is {min(bare)!r}). Expected CLASS/GROUP/image; "
            "give every group a folder, or name it by a regular expression."
        )
    return named


def _parent_folder(image: ListedImage) -> str:
    folders = PurePosixPath(image.path).parent.parts
    if image.split and folders and folders[0].lower() in PART_ALIASES:
        folders = folders[1:]
    return class_name("/".join(folders)) or "."


def _groups_from_pattern(listed: list[ListedImage], pattern: str) -> list[ListedImage]:
    expression, group = compile_pattern(pattern, "group", "--group-pattern")
    images: list[ListedImage] = []
    unmatched: list[str] = []
    for image in listed:
        match = expression.search(image.path)
        if match:  # an optional group that did not match gives no group
            images.append(replace(image, group=class_name(match[group] or "")))
        else:
            unmatched.append(image.path)
    if unmatched:
        raise InvalidPattern(
            f"--group-pattern {pattern!r} matches {len(images)} of {len(listed)} paths; "
            f"the first that it does not match is {min(unmatched)!r}. Expected every path to "
            "match; make the group optional, (?P<group>…)?, if some images have none."
        )
    return images
