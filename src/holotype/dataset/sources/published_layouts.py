"""Turn data sets as they are published into what `train` takes: a table beside their files."""

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from holotype.dataset.atomic_directory import write_table
from holotype.dataset.sources.archives import archive_stem

_Row = tuple[str, ...]  # of path and label, and perhaps the part
_CAT_OR_DOG = re.compile(r"(cat|dog)\.\d+\.jpg", re.IGNORECASE)
_PET = re.compile(r"(.+)_\d+\.jpg", re.IGNORECASE)
_MINC_PARTS = {"train1.txt": "train", "validate1.txt": "val", "test1.txt": "test"}


def is_published(name: str) -> bool:
    """Whether the layout of a data set is known, by its name or that of its archive."""
    return _key(name) in _LAYOUTS


def write_published_table(name: str, directory: Path) -> Path | None:
    """Write `table.csv` for a data set whose files alone do not say their labels.

    Args:
        name: of the data set, as `fetch` knows it; or of its archive, such as `minc-2500.tar.gz`.
        directory: staged, with its files unpacked.

    Returns:
        The table; None for another data set, or where the files are not laid out as expected.
    """
    rows = _LAYOUTS[_key(name)](directory) if is_published(name) else []
    if not rows:
        return None
    header = ("path", "label", "split")[: len(rows[0])]
    return write_table(directory, header, sorted(rows))


def _key(name: str) -> str:
    return archive_stem(name.rsplit("/", 1)[-1])


def _cats_and_dogs(directory: Path) -> list[_Row]:
    """`train/cat.0.jpg`; the competition's own test images have no labels."""
    return _labelled_by_name(directory, directory.rglob("*.jpg"), _CAT_OR_DOG)


def _oxford_pets(directory: Path) -> list[_Row]:
    """`images/Abyssinian_1.jpg`."""
    return _labelled_by_name(directory, directory.rglob("images/*.jpg"), _PET)


def _minc(directory: Path) -> list[_Row]:
    """`images/brick/brick_000000.jpg`, listed in `labels/train1.txt`: the first published split."""
    rows: list[_Row] = []
    for listing in sorted(directory.rglob("labels/*1.txt")):
        part = _MINC_PARTS.get(listing.name)
        root = listing.parent.parent
        for line in listing.read_text("utf-8", errors="replace").splitlines() if part else []:
            image = root / line.strip()
            if line.strip().startswith("images/") and _is_inside(image, directory):
                path = image.relative_to(directory).as_posix()
                rows.append((path, image.parent.name, part or ""))
    return rows


def _dog_breeds(directory: Path) -> list[_Row]:
    """`train/ID.jpg`, with the columns id and breed in `labels.csv`."""
    rows: list[_Row] = []
    for table in directory.rglob("labels.csv"):
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                image = table.parent / "train" / f"{row.get('id')}.jpg"
                if row.get("breed") and _is_inside(image, directory):
                    rows.append((image.relative_to(directory).as_posix(), row["breed"]))
    return rows


def _is_inside(file: Path, directory: Path) -> bool:
    """Whether a list names a file of its own data set, and nothing outside of it."""
    return ".." not in file.parts and file.is_file() and file.is_relative_to(directory)


def _labelled_by_name(
    directory: Path, files: Iterable[Path], pattern: re.Pattern[str]
) -> list[_Row]:
    return [
        (file.relative_to(directory).as_posix(), match[1])
        for file in files
        if (match := pattern.fullmatch(file.name))
    ]


_LAYOUTS: dict[str, Callable[[Path], list[_Row]]] = {
    "dogs-vs-cats": _cats_and_dogs,
    "oxford-pets": _oxford_pets,
    "minc-2500": _minc,
    "dog-breeds": _dog_breeds,
}
