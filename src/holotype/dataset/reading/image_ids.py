"""Find the files of images that a table names by ids: by paths without their extensions."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from holotype.dataset.reading.folder_walk import walk_folder
from holotype.errors import InvalidTable
from holotype.imaging.image_formats import IMAGE_EXTENSIONS, UNREAD_EXTENSIONS


def is_image_id(name: str) -> bool:
    """Whether a path has no extension of an image."""
    return PurePosixPath(name).suffix.lower() not in IMAGE_EXTENSIONS | UNREAD_EXTENSIONS


def with_extensions(source: str, paths: Sequence[str], folder: Path) -> list[str]:
    """Absolute paths, of which those without an extension that name no file become those of files.

    Args:
        source: the table, for messages.
        folder: of the table; the files are anywhere below it.

    Raises:
        InvalidTable: an id is that of no file, or of several.
    """
    ids = [path for path in paths if is_image_id(path) and not os.path.lexists(path)]
    if not ids:
        return list(paths)
    root = os.path.abspath(folder)
    named = {path: os.path.relpath(path, root).replace(os.sep, "/") for path in ids}
    found = files_of_ids(source, named.values(), walk_folder(Path(root)).images)
    missing = [name for name in named.values() if name not in found]
    if missing:
        raise InvalidTable(
            f"{source}: {len(missing):,} of {len(paths):,} images have no extension in the table, "
            f"and no file of that name below {root!r}; the first: {missing[0]!r}. Expected paths "
            "relative to the table, or the names of files below its folder without the extension."
        )
    return [os.path.join(root, found[named[path]]) if path in named else path for path in paths]


def files_of_ids(source: str, ids: Iterable[str], paths: Iterable[str]) -> dict[str, str]:
    """Id -> the one path that is, or ends in, that id and an extension; ids of no path are absent.

    Raises:
        InvalidTable: an id is that of several paths.
    """
    with_stem: dict[str, list[str]] = {}
    for path in paths:
        with_stem.setdefault(_composed(PurePosixPath(path).stem), []).append(path)
    found, several = {}, {}
    for name in ids:
        end = f"/{_composed(name)}"
        meant = [
            path
            for path in with_stem.get(end.rpartition("/")[2], ())
            if f"/{_composed(str(PurePosixPath(path).with_suffix('')))}".endswith(end)
        ]
        if len(meant) > 1:
            several[name] = meant
        elif meant:
            found[name] = meant[0]
    if several:
        name, meant = next(iter(several.items()))
        raise InvalidTable(
            f"{source}: {len(several):,} of {len(several) + len(found):,} images have no extension "
            f"in the table and could each be several files; the first: {name!r} could be "
            f"{' or '.join(map(repr, meant[:3]))}. Write the folder before it, or the whole path."
        )
    return found


def _composed(name: str) -> str:
    """In the Unicode form NFC; macOS writes names in another."""
    return unicodedata.normalize("NFC", name)
