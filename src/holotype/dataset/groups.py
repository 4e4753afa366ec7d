"""What the user calls a group (specimen, patient, recording, …), and where it is read from."""

from dataclasses import replace
from pathlib import PurePosixPath

from holotype.dataset.folders import compiled
from holotype.dataset.listing import PART_OF_NAME, Listed, Listing
from holotype.errors import InvalidPattern

PARENT_FOLDER = "parent-folder"
COLUMN = "column:"


def group_column(group_pattern: str | None) -> str | None:
    """The column that `column:NAME` names; None where the pattern means something else."""
    if group_pattern is None or not group_pattern.startswith(COLUMN):
        return None
    return group_pattern.removeprefix(COLUMN).strip()


def grouped(listing: Listing, pattern: str) -> Listing:
    """The listing with the groups that a pattern, or `parent-folder`, finds in the paths.

    Raises:
        InvalidPattern: the pattern finds no group in some path, or there are groups already.
    """
    if any(image.group for image in listing.images):
        raise InvalidPattern(
            "--group-pattern was given, but the table has a column with groups; leave one out."
        )
    if pattern == PARENT_FOLDER:
        return replace(listing, images=_by_parent_folder(listing.images))
    return replace(listing, images=_by_expression(listing.images, pattern))


def _by_parent_folder(images: list[Listed]) -> list[Listed]:
    """The folder that a picture lies in; train/cat/s1 and test/cat/s1 are one specimen.

    A class folder is no group: a class that is one group could not be divided at all.
    """
    named = [replace(image, group=_parent_folder(image)) for image in images]
    bare = [image.path for image in named if image.group in (".", image.label)]
    if bare:
        raise InvalidPattern(
            f"--group-pattern {PARENT_FOLDER}: {len(bare)} of {len(named)} pictures lie directly "
            f"in their class folder (the first is {min(bare)!r}). Expected CLASS/GROUP/picture; "
            "give every group a folder, or name it by a regular expression."
        )
    return named


def _parent_folder(image: Listed) -> str:
    folders = PurePosixPath(image.path).parent.parts
    if image.split and folders and folders[0].lower() in PART_OF_NAME:
        folders = folders[1:]
    return "/".join(folders) or "."


def _by_expression(listed: list[Listed], pattern: str) -> list[Listed]:
    expression, group = compiled(pattern, "group", "--group-pattern")
    images: list[Listed] = []
    unmatched: list[str] = []
    for image in listed:
        match = expression.search(image.path)
        if match:  # a group that took no part in the match leaves the picture without a group
            images.append(replace(image, group=match[group] or ""))
        else:
            unmatched.append(image.path)
    if unmatched:
        raise InvalidPattern(
            f"--group-pattern {pattern!r} matches {len(images)} of {len(listed)} paths; "
            f"the first that it does not match is {min(unmatched)!r}. Expected every path to "
            "match; make the group optional, (?P<group>…)?, if some pictures have none."
        )
    return images
