"""Read class folders, split folders and flat folders into a listing."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holotype.dataset.reading.sample_records import (
    ALL_PARTS,
    PART_ALIASES,
    ImageListing,
    ListedImage,
)
from holotype.errors import DatasetError, EmptyDataset, InvalidPattern, SplitClassMismatch

IMAGE_EXTENSIONS = frozenset(
    [".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"]
)
SYSTEM_NAMES = frozenset(["thumbs.db", "desktop.ini", "__macosx"])


def list_folder(
    root: Path, *, label_pattern: str | None = None, allow_class_mismatch: bool = False
) -> ImageListing:
    """The images below a folder, with their labels and, from split folders, their parts.

    Raises:
        EmptyDataset: there is no image.
        SplitClassMismatch: a part lacks classes of another, and `allow_class_mismatch` is false.
        InvalidPattern: the pattern does not compile, or a file name does not match.
        DatasetError: the folder cannot be read, or its images are in no class folders.
    """
    found = _scan_folder(root)
    if not found.images and not found.undecodable_names:
        others = f"; it holds {len(found.others)} other files" if found.others else ""
        raise EmptyDataset(
            f"{str(root)!r} holds no images{others}. Expected files ending in "
            f"{', '.join(sorted(IMAGE_EXTENSIONS))} that are not hidden."
        )
    has_parts = _has_part_folders(root, found.images)
    if label_pattern is not None:
        images = _labelled_by_name(found.images, label_pattern, has_parts)
        return ImageListing(root, images, tuple(found.others), tuple(found.undecodable_names))
    images, strays = _labelled_by_folder(root, found.images, has_parts)
    if has_parts and not allow_class_mismatch:
        _require_same_classes(images)
    ignored = (*found.others, *strays, *_empty_class_folders(found, has_parts))
    return ImageListing(root, images, ignored, tuple(found.undecodable_names))


def compile_pattern(pattern: str, group: str, option: str) -> tuple[re.Pattern[str], str | int]:
    """Compile a user's regular expression.

    Args:
        group: the name of the group to use; without one of this name the first is used.
        option: of the command line, for messages.

    Returns:
        The expression, and its group's name or number.

    Raises:
        InvalidPattern: it does not compile, or has no group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InvalidPattern(
            f"{option} {pattern!r} is no regular expression: {error}. "
            f"Expected one with a group, such as '(?P<{group}>[a-z]+)'."
        ) from None
    if not expression.groups:
        raise InvalidPattern(
            f"{option} {pattern!r} has no group; expected (?P<{group}>…) around the part of the "
            "name to use."
        )
    return expression, group if group in expression.groupindex else 1


@dataclass
class _FolderContents:
    """Files below the root, as relative paths with forward slashes."""

    images: list[str]
    others: list[str]
    undecodable_names: list[str]
    folders: list[str]


def _scan_folder(root: Path) -> _FolderContents:
    found = _FolderContents([], [], [], [])
    for path, is_folder in _walk(root, "", ()):
        if is_folder:
            found.folders.append(path)
        elif PurePosixPath(path).suffix.lower() not in IMAGE_EXTENSIONS:
            found.others.append(_escaped(path))
        elif _is_text(path):
            found.images.append(path)
        else:
            found.undecodable_names.append(_escaped(path))
    return found


def _walk(
    root: Path, folder: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, bool]]:
    """All files and folders below, links followed, as (relative path, is a folder).

    Args:
        above: device and inode of the folders above, which are not entered again, as a link may
            lead back to one.
    """
    here = root / folder
    try:
        status = here.stat()
        with os.scandir(here) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(
            f"the folder {_escaped(str(here))!r} cannot be read: {error.strerror}. "
            "Expected every folder of the data to be readable; change its permissions."
        ) from None
    inode = (status.st_dev, status.st_ino)
    if inode in above:
        return
    for entry in entries:
        if is_hidden_or_system(entry.name):
            continue
        path = f"{folder}/{entry.name}" if folder else entry.name
        if _is_folder(entry):
            yield path, True
            yield from _walk(root, path, (*above, inode))
        elif _is_file(entry):
            yield path, False


def is_hidden_or_system(name: str) -> bool:
    """Whether a file or folder is hidden, or made by the operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Regular files and broken links, which the audit reports; no pipes or devices."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(path: str) -> str:
    """A path with bytes that are not valid UTF-8 escaped, so that it can be printed."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _has_part_folders(root: Path, images: list[str]) -> bool:
    """Whether the topmost folders are train, val, test or cal rather than classes."""
    tops = {path.split("/", 1)[0] for path in images if "/" in path}
    parts = {PART_ALIASES[top.lower()] for top in tops if top.lower() in PART_ALIASES}
    others = sorted(top for top in tops if top.lower() not in PART_ALIASES)
    if parts and not others:
        return True
    if len(parts) > 1:
        raise DatasetError(
            f"{str(root)!r} holds folders called {', '.join(sorted(parts))} beside {others[0]!r}; "
            "expected either only split folders or only class folders. Rename or move the others."
        )
    return False


def _part_of(path: str, has_parts: bool) -> tuple[str, str]:
    """(part, path below the split folder)."""
    if not has_parts or "/" not in path:
        return "", path
    top, below = path.split("/", 1)
    return PART_ALIASES[top.lower()], below


def _labelled_by_folder(
    root: Path, paths: list[str], has_parts: bool
) -> tuple[list[ListedImage], list[str]]:
    images, strays = [], []
    for path in paths:
        part, below = _part_of(path, has_parts)
        if "/" in below and (part or not has_parts):
            images.append(ListedImage(path, label=below.split("/", 1)[0], split=part))
        else:
            strays.append(path)
    if strays and not images:
        raise DatasetError(
            f"the {len(strays)} images of {str(root)!r} are in no class folders "
            f"(the first is {strays[0]!r}). Expected one folder per class, or --label-pattern "
            "to read the label from the file name, or a table with the columns path and label."
        )
    return images, strays


def _labelled_by_name(paths: list[str], pattern: str, has_parts: bool) -> list[ListedImage]:
    expression, group = compile_pattern(pattern, "label", "--label-pattern")
    images, unmatched = [], []
    for path in paths:
        match = expression.search(PurePosixPath(path).name)
        if match and match[group]:
            part, _ = _part_of(path, has_parts)
            images.append(ListedImage(path, label=match[group], split=part))
        else:
            unmatched.append(path)
    if unmatched:
        raise InvalidPattern(
            f"--label-pattern {pattern!r} matches {len(images)} of {len(paths)} file names; "
            f"the first that it does not match is {unmatched[0]!r}. "
            "Expected a label in every name; widen the pattern or move these files away."
        )
    return images


def _require_same_classes(images: list[ListedImage]) -> None:
    classes = {part: {i.label for i in images if i.split == part} for part in ALL_PARTS}
    present = {part: names for part, names in classes.items() if names}
    every = set().union(*present.values())
    differences = [
        f"{part} lacks {', '.join(map(repr, sorted(every - names)))}"
        for part, names in present.items()
        if names != every
    ]
    if differences:
        raise SplitClassMismatch(
            f"the split folders hold different classes: {'; '.join(differences)}. "
            "Expected the same class folders with images in each; add what is missing, "
            "or put all images into class folders and let Holotype split them."
        )


def _empty_class_folders(found: _FolderContents, has_parts: bool) -> list[str]:
    depth = 1 if has_parts else 0
    candidates = [folder for folder in found.folders if folder.count("/") == depth]
    filled = {"/".join(path.split("/")[: depth + 1]) for path in found.images}
    return [f"{_escaped(folder)}/" for folder in candidates if folder not in filled]
