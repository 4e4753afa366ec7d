"""Images with who, where, when and which side: read from names, folders of folders, and tables."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from holotype.bundle.image_sources import ImageFile, Images, ImageSource, as_list, image_sources
from holotype.dataset.class_names import blank_notes
from holotype.dataset.index import TABLE_EXTENSIONS
from holotype.dataset.reading.column_names import column_notes, find_columns, known_names
from holotype.dataset.reading.csv_tables import read_csv_table
from holotype.dataset.reading.image_ids import with_extensions
from holotype.errors import ImageError, InvalidTable, UsageError
from holotype.files import sha256_of
from holotype.identification.storage.gallery_images import GalleryImage
from holotype.imaging.file_limits import require_plain_file
from holotype.progress import Progress

# What a column is called in a table of individuals, or in one that `train` reads; and what else is
# read by `find_columns`, of which `label` stands for `individual` only where that one is missing.
INDIVIDUAL_COLUMNS, ENCOUNTER_COLUMNS = ("individual", "label"), ("encounter", "group")
_COLUMNS = ("path", "individual", *ENCOUNTER_COLUMNS, "date")


@dataclass(frozen=True)
class KnownFacts:
    """What a caller says of all images of a call; None: it is read from a table or from folders.

    Attributes:
        attributes: name -> value, or None where it is a column of the table.
        is_labelled: whether every image needs an individual.
        is_kept: whether files are named by absolute paths, which hold in any directory later on.
    """

    individual: str | None = None
    encounter: str | None = None
    date: str | None = None
    attributes: Mapping[str, str | None] = field(default_factory=dict)
    is_labelled: bool = True
    is_kept: bool = False


ListedSource = tuple[GalleryImage, ImageSource]


def list_images(images: Images, known: KnownFacts, progress: Progress) -> list[ListedSource]:
    """Every image with what is known of it; none is decoded yet.

    A table (CSV, TSV, Parquet) has a column `path`, and may have `individual` (or `label`),
    `encounter` (or `group`), `date` and a column for every attribute; well-known other names are
    taken too. In a folder of folders,
    without an individual in `known`, the first folder is the individual and the second, where there
    is one, the encounter.

    Raises:
        UsageError: no image was named, a path does not exist, or an image is without an individual
            or an attribute.
        InvalidTable: a table without the columns or values that it needs.
    """
    found: list[ListedSource] = []
    for place in as_list(images):
        if isinstance(place, str | os.PathLike) and Path(place).suffix.lower() in TABLE_EXTENSIONS:
            found += _from_table(Path(place), known, progress)
        elif isinstance(place, str | os.PathLike) and Path(place).is_dir() and known.is_labelled:
            found += _from_folder(Path(place), known, progress)
        else:
            sources = image_sources([place], progress)
            found += [(_described(source.id, known, {}), source) for source in sources]
    if not found:
        raise UsageError("no image was named; give images, folders of images, or a table.")
    for image, _ in found:
        if known.is_labelled and not image.individual:
            raise UsageError(
                f"{image.file!r}: it is not said who this is; give --label NAME, a table with a "
                "column individual, or a folder with a folder for every individual."
            )
    if known.is_kept:
        found = [
            (replace(image, file=Path(os.path.abspath(image.file)).as_posix()), source)
            if isinstance(source, ImageFile)
            else (image, source)
            for image, source in found
        ]
    return [(replace(image, sha256=_sha256(source)), source) for image, source in found]


def _described(
    file: str, known: KnownFacts, cells: Mapping[str, str], encounter: str = ""
) -> GalleryImage:
    """One image, of which a table or a folder says what the caller does not.

    Raises:
        UsageError: an attribute has no value.
    """
    attributes = {}
    for name, value in known.attributes.items():
        attributes[name] = (value if value is not None else cells.get(name, "")).strip()
        if not attributes[name]:
            raise UsageError(
                f"{file!r} has no {name}, and this gallery never compares images that differ in "
                f"it; give --attribute {name}=VALUE, or a table with a column {name}."
            )
    individual = known.individual
    return GalleryImage(
        individual=(
            _first(cells, INDIVIDUAL_COLUMNS) if individual is None else individual
        ).strip(),
        file=file,
        sha256="",
        encounter=known.encounter or _first(cells, ENCOUNTER_COLUMNS) or encounter,
        date=known.date or cells.get("date", "").strip(),
        attributes=attributes,
    )


def _first(cells: Mapping[str, str], names: Sequence[str]) -> str:
    return next((cells[name].strip() for name in names if cells.get(name, "").strip()), "")


def _from_folder(folder: Path, known: KnownFacts, progress: Progress) -> list[ListedSource]:
    listed: list[ListedSource] = []
    for source in image_sources([folder], progress):
        assert isinstance(source, ImageFile)
        above = source.path.relative_to(folder).parts[:-1]
        cells = {"individual": above[0] if above else ""}
        encounter = above[1] if len(above) > 1 else ""
        listed.append((_described(source.id, known, cells, encounter), source))
    return listed


def _from_table(file: Path, known: KnownFacts, progress: Progress) -> list[ListedSource]:
    columns = _columns(file)
    attributes = tuple(known.attributes)
    found = find_columns(repr(str(file)), columns, _COLUMNS, taken=attributes)
    if "label" in columns or ("individual" not in found and known.individual is None):
        found |= find_columns(repr(str(file)), columns, ["label"], taken=attributes)
    if "path" not in found:
        raise InvalidTable(
            f"{str(file)!r} has no column 'path'; its columns are {', '.join(columns) or 'none'}. "
            f"Expected one of {known_names('path')}."
        )
    columns |= {name: columns[column] for name, column in found.items()}
    progress.log_all(column_notes(found))
    if known.individual is None:
        individuals = (columns[name] for name in INDIVIDUAL_COLUMNS if name in found)
        progress.log_all(blank_notes(next(individuals, [])))
    missing = [name for name, value in known.attributes.items() if value is None]
    missing = [name for name in missing if name not in columns]
    if missing:
        raise InvalidTable(
            f"{str(file)!r} has no column {missing[0]!r}, and this gallery never compares images "
            f"that differ in it; add the column, or give --attribute {missing[0]}=VALUE."
        )
    folder = file.absolute().parent
    named = [cell.strip() for cell in columns["path"]]
    if "" in named:
        row = named.index("") + 1
        raise InvalidTable(f"{str(file)!r}, row {row}: no path; expected one of an image.")
    paths = [os.path.normpath(folder / name) for name in named]
    listed: list[ListedSource] = []
    for row, place in enumerate(with_extensions(repr(str(file)), paths, folder)):
        cells = {name: cells[row] for name, cells in columns.items()}
        path = Path(place)
        listed.append((_described(path.as_posix(), known, cells), ImageFile(path.as_posix(), path)))
    return listed


def _columns(file: Path) -> dict[str, list[str]]:
    """The cells of a table as text, by column.

    Raises:
        InvalidTable: it cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise InvalidTable(f"{str(file)!r} cannot be read as Parquet: {error}.") from None
        return {
            name: ["" if cell is None else str(cell) for cell in table[name].to_pylist()]
            for name in table.column_names
        }
    csv = read_csv_table(file, expected="Expected text with a header such as path,individual,date.")
    return {name: csv.column(name) for name in csv.columns}


def _sha256(source: ImageSource) -> str:
    """The hash of a file, so that what the cache has of it is found; "" where it is not known."""
    if isinstance(source, ImageFile):
        with suppress(OSError, ImageError):  # refused by its name when it is opened
            require_plain_file(source.path, source.id)
            return sha256_of(source.path)
    return ""
