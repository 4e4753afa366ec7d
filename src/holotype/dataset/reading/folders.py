"""Read class folders, split folders and flat folders into a listing."""

import re
from pathlib import Path, PurePosixPath

from holotype.dataset.class_names import class_name, quoted_names
from holotype.dataset.reading.folder_walk import (
    FolderContents,
    printable,
    walk_folder,
)
from holotype.dataset.reading.sample_records import (
    ALL_PARTS,
    PART_ALIASES,
    IgnoredReason,
    ImageListing,
    ListedImage,
)
from holotype.errors import DatasetError, EmptyDataset, InvalidPattern, SplitClassMismatch
from holotype.imaging.image_formats import IMAGE_EXTENSIONS
from holotype.progress import pluralize


def list_folder(
    root: Path, *, label_pattern: str | None, allow_class_mismatch: bool
) -> ImageListing:
    """The images below a folder, with their labels and, from split folders, their parts.

    Raises:
        EmptyDataset: there is no image.
        SplitClassMismatch: a part lacks classes of another, and `allow_class_mismatch` is false.
        InvalidPattern: the pattern does not compile, or a file name does not match.
        DatasetError: the folder cannot be read, or its images are in no class folders.
    """
    found = walk_folder(root)
    names = [path for path in found.images if _is_text(path)]
    undecodable_names = tuple(printable(path) for path in found.images if not _is_text(path))
    if not found.images:
        others = f"; it holds {len(found.others)} other files" if found.others else ""
        outputs = f"; {found.outputs[0]!r} was written by Holotype" if found.outputs else ""
        raise EmptyDataset(
            f"{str(root)!r} holds no images{others}{outputs}. Expected files ending in "
            f"{', '.join(sorted(IMAGE_EXTENSIONS))} that are not hidden."
        )
    has_parts = _has_part_folders(root, names)
    strays: list[str] = []
    if label_pattern is not None:
        images = _labelled_by_name(names, label_pattern, has_parts)
    else:
        images, strays = _labelled_by_folder(root, names, has_parts)
        if has_parts and not allow_class_mismatch:
            _require_same_classes(images)
    ignored = _ignored(found, strays, [] if label_pattern else _empty_folders(found, has_parts))
    return ImageListing(root, images, ignored, undecodable_names)


def _ignored(
    found: FolderContents, strays: list[str], empty_folders: list[str]
) -> dict[str, IgnoredReason]:
    """What is not used, and why."""
    reasons: dict[str, IgnoredReason] = {}
    reasons |= {printable(path): "no image" for path in found.others}
    reasons |= dict.fromkeys(strays, "in no class folder")
    reasons |= {printable(f"{path}/"): "empty class folder" for path in empty_folders}
    reasons |= {printable(f"{path}/"): "written by Holotype" for path in found.outputs}
    reasons |= {printable(path): "hidden" for path in found.hidden}
    return reasons


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def _refuse_part_among_classes(root: Path, images: list[str]) -> None:
    """Refuse train/CLASS/image beside other/image, which would give the classes train and other.

    A class called train, and CLASS/GROUP/image throughout, are read.
    """
    below: dict[str, set[str]] = {}  # top folder -> its folders with images, "" for itself
    for path in images:
        if "/" in path:
            top, *within, _ = path.split("/")
            below.setdefault(top, set()).add(within[0] if within else "")
    beside = sorted(top for top, folders in below.items() if "" in folders)
    for top, folders in below.items():
        if beside and top.lower() in PART_ALIASES and "" not in folders and len(folders) > 1:
            raise DatasetError(
                f"{str(root)!r} holds {top!r} with {len(folders)} folders of images, and "
                f"{beside[0]!r} with images beside it: is {top!r} a class, or a part with classes "
                f"in it? Name {str(root / top)!r} as the data if a part; if a class, put its "
                "images into it directly or rename it."
            )


def _part_of(path: str, has_parts: bool) -> tuple[str, str]:
    """(part, path below the split folder)."""
    if not has_parts or "/" not in path:
        return "", path
    top, below = path.split("/", 1)
    return PART_ALIASES[top.lower()], below


def _labelled_by_folder(
    root: Path, paths: list[str], has_parts: bool
) -> tuple[list[ListedImage], list[str]]:
    if not has_parts:
        _refuse_part_among_classes(root, paths)
    images, strays = [], []
    for path in paths:
        part, below = _part_of(path, has_parts)
        if "/" in below and (part or not has_parts):
            images.append(ListedImage(path, label=class_name(below.split("/", 1)[0]), split=part))
        else:
            strays.append(path)
    if strays and not images:
        raise DatasetError(
            f"the {pluralize(len(strays), 'image')} of {str(root)!r} are in no class folders "
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
            images.append(ListedImage(path, label=class_name(match[group]), split=part))
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
        f"{part} lacks {quoted_names(sorted(every - names), names)}"
        for part, names in present.items()
        if names != every
    ]
    if differences:
        raise SplitClassMismatch(
            f"the split folders hold different classes: {'; '.join(differences)}. "
            "Expected the same class folders with images in each; add what is missing, "
            "or put all images into class folders and let Holotype split them."
        )


def _empty_folders(found: FolderContents, has_parts: bool) -> list[str]:
    """Folders where classes are expected, with nothing in them; no folder of Holotype's outputs."""
    depth = 1 if has_parts else 0
    filled = {"/".join(path.split("/")[: depth + 1]) for path in (*found.images, *found.outputs)}
    return [path for path in found.folders if path.count("/") == depth and path not in filled]
