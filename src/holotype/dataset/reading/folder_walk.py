"""Walk folders of images: one way for all verbs.

An image is a file with the extension or the first bytes of an image format, whether or not the
format is read: what is not read is refused by name later. Links are followed. Hidden files, folders
of operating systems and folders that Holotype wrote are passed over.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from holotype.errors import DatasetError
from holotype.imaging.image_formats import (
    HEAD_BYTES,
    IMAGE_EXTENSIONS,
    UNREAD_EXTENSIONS,
    format_of,
)

SYSTEM_NAMES = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle",
        "$recycle.bin", "system volume information", "lost+found",
    }
)  # fmt: skip
_NEVER_IMAGES = frozenset(  # not opened to look at their first bytes
    {
        ".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".py",
        ".parquet", ".npy", ".npz", ".pdf", ".zip", ".log",
    }
)  # fmt: skip
# Names that are together in a folder only where Holotype wrote it.
_OUTPUT_NAMES = (
    frozenset(["recipe.yaml", "train.log"]),  # a run
    frozenset(["recipe.yaml", "index.parquet"]),
    frozenset(["manifest.json", "head.onnx"]),  # a bundle
    frozenset(["manifest.json", "members"]),
    frozenset(["audit.json", "issues.csv"]),
    frozenset(["predictions.parquet", "report"]),  # an evaluation
    frozenset(["metrics.json", "index.html"]),  # a report
    frozenset(["comparison.json", "comparison.csv"]),
    frozenset(["variants.json", "variants.md"]),
    frozenset(["explanations.csv"]),
    frozenset(["matches.csv", "index.html"]),
    frozenset(["split.json", "table.csv"]),
    frozenset(["slices.json", "table.csv"]),
)


@dataclass
class FolderContents:
    """What is below a folder, as relative paths with forward slashes, in the order of their names.

    Attributes:
        images: by extension or first bytes, broken links included.
        others: files that are no images; pipes, sockets and devices, which are never opened.
        folders: those that were entered.
        outputs: folders that Holotype wrote, which were not entered.
        hidden: hidden images, and folders that are hidden or made by an operating system.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def walk_folder(root: Path) -> FolderContents:
    """All that is below a folder.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found = FolderContents()
    for path, kind in _walk(root, "", ()):
        getattr(found, kind).append(path)
    return found


def is_holotype_output(folder: Path) -> bool:
    """Whether Holotype wrote this folder: a run, a bundle, an audit, heatmaps, a split, …"""
    try:
        return _is_output({entry.name for entry in os.scandir(folder)})
    except OSError:
        return False


def _is_output(names: set[str]) -> bool:
    return any(names >= output for output in _OUTPUT_NAMES)


def _walk(root: Path, folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    """All that is below, links followed, as (relative path, field of `FolderContents`).

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
            f"the folder {printable(str(here))!r} cannot be read: {error.strerror}. "
            "Expected every folder of the data to be readable; change its permissions."
        ) from None
    inode = (status.st_dev, status.st_ino)
    if inode in above:
        return
    if folder and _is_output({entry.name for entry in entries}):
        yield folder, "outputs"
        return
    if folder:
        yield folder, "folders"
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if is_hidden_or_system(entry.name):
            if _is_folder(entry):
                yield f"{path}/", "hidden"
            elif PurePosixPath(entry.name).suffix.lower() in IMAGE_EXTENSIONS:
                yield path, "hidden"
            continue
        if _is_folder(entry):
            yield from _walk(root, path, (*above, inode))
        else:
            yield path, "images" if _is_file(entry) and _is_image(entry) else "others"


def is_hidden_or_system(name: str) -> bool:
    """Whether a file or folder is hidden, or made by the operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def printable(path: str) -> str:
    """A path with bytes that are not valid UTF-8 escaped, so that it can be printed."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _is_image(entry: os.DirEntry[str]) -> bool:
    extension = PurePosixPath(entry.name).suffix.lower()
    if extension in IMAGE_EXTENSIONS | UNREAD_EXTENSIONS:
        return True
    if extension in _NEVER_IMAGES:
        return False
    try:
        with open(entry.path, "rb") as file:
            return format_of(file.read(HEAD_BYTES)) not in (None, "PDF")
    except OSError:
        return False


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
