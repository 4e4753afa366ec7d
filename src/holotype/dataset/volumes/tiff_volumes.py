"""Read 3-D images (TIFF stacks, folders of slices, `.npy` files) as memory-mapped arrays.

A volume may be larger than memory, so slices are processed one at a time. Volumes keep their bit
depth, unlike the images of an index, which are decoded to 8 bits.

Arrays: Z slices, Y rows, X columns. Levels: grey values as stored.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import ImageError, VolumeError
from holotype.imaging.image_formats import IMAGE_EXTENSIONS, UNREAD_EXTENSIONS
from holotype.imaging.tiff_tags import is_white_zero, refuse_signed
from holotype.progress import pluralize

TIFF_EXTENSIONS = frozenset([".tif", ".tiff"])
MAX_VOXELS = 20_000_000_000  # of one volume, such as 2700³
MAX_SLICE_PIXELS = 100_000_000
_VOLUME_EXTENSIONS = TIFF_EXTENSIONS | {".npy"}
_UNREAD_VOLUME_EXTENSIONS = frozenset(
    (
        ".nii", ".gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".raw", ".vol", ".vgi", ".dcm", ".h5",
        ".hdf5",
    )
)  # fmt: skip
_FORMATS = ("TIFF", "PNG", "JPEG", "BMP")
_GREY_MODES = frozenset(["1", "L", "I;16", "I;16L", "I;16B", "I", "F"])
_BINS = 65_536


@dataclass(frozen=True)
class VolumeSource:
    """One volume in a folder of class folders.

    Attributes:
        label: its class folder.
        name: of the file without its extension, or of the folder of slices.
        path: the file or folder.
    """

    label: str
    name: str
    path: Path

    @property
    def group(self) -> str:
        """The specimen, unique among all classes."""
        return f"{self.label}/{self.name}"


def find_volumes(volumes: Path) -> list[VolumeSource]:
    """CLASS/SPECIMEN.tif, CLASS/SPECIMEN.npy and CLASS/SPECIMEN/0001.png, sorted.

    Hidden files are ignored; of others see `unread_files`.
    """
    found = []
    for folder in _visible(volumes):
        if not folder.is_dir():
            continue
        for entry in _visible(folder):
            if entry.is_dir() or entry.suffix.lower() in _VOLUME_EXTENSIONS:
                name = entry.name if entry.is_dir() else entry.stem
                found.append(VolumeSource(folder.name, name, entry))
    return found


def unread_files(volumes: Path) -> tuple[list[VolumeError], list[Path]]:
    """Volumes that are passed over, one for each folder and extension; and other files."""
    unread, others = [], []
    for folder in [volumes, *filter(Path.is_dir, _visible(volumes))]:
        read = _VOLUME_EXTENSIONS if folder != volumes else frozenset()
        of_extension: dict[str, list[Path]] = {}
        for entry in _visible(folder):
            if not entry.is_dir() and entry.suffix.lower() not in read:
                of_extension.setdefault(entry.suffix.lower(), []).append(entry)
        for extension, files in of_extension.items():
            if extension not in _UNREAD_VOLUME_EXTENSIONS | _VOLUME_EXTENSIONS:
                others += files
                continue
            why = "it lies in no class folder" if folder == volumes else "its format is not read"
            rest = f" (and {pluralize(len(files) - 1, 'other')} of {extension})"
            unread.append(VolumeError(files[0], why + rest * (len(files) > 1)))
    return unread, others


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def open_volume(path: Path, scratch: Path) -> NDArray[Any]:
    """The volume (Z, Y, X), memory-mapped and read-only.

    Args:
        scratch: a file for the copy of a stack, to be kept as long as the array is used.

    Raises:
        VolumeError: it is broken, not a stack of grey slices of one size, or too large.
    """
    if not path.is_dir():
        _require_plain_file(path, path)
    if path.suffix.lower() == ".npy" and path.is_file():
        return _map_npy(path)
    with _as_volume_refused(path):
        if path.is_dir():
            return _copy_to_memmap(path, _pages_of_folder(path), scratch)
        return _copy_to_memmap(path, _pages_of_stack(path), scratch)


def _require_plain_file(file: Path, volume: Path) -> None:
    """A pipe would never end."""
    if not file.is_file():
        raise VolumeError(volume, f"{file.name!r} is a link to nothing, a pipe or a device")


def _map_npy(path: Path) -> NDArray[Any]:
    try:
        volume = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise VolumeError(path, f"it is no array that can be mapped: {error}") from None
    if not isinstance(volume, np.ndarray) or volume.ndim != 3:
        shape = getattr(volume, "shape", "unknown")
        raise VolumeError(path, f"its shape is {shape}, not (slices, rows, columns)")
    if volume.dtype.kind not in "buif" or volume.dtype.itemsize > 8:
        raise VolumeError(path, f"its values are {volume.dtype}, not grey levels")
    _check_shape(path, volume.shape)
    return volume


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if min(shape) < 2:
        raise VolumeError(path, f"its shape is {shape}, less than 2 along an axis")
    if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise VolumeError(path, f"its shape is {shape}, more than {MAX_VOXELS:,} voxels")


_Pages = tuple[int, Iterator[NDArray[Any]]]  # their number, and the slices in order


def _copy_to_memmap(path: Path, pages: _Pages, scratch: Path) -> NDArray[Any]:
    """The pages copied into one array on disk, one at a time.

    They are written as a file is, since a map of a file with holes ends the process where the disk
    is full.
    """
    count, slices = pages
    first = next(slices)
    shape = (count, *first.shape)
    _check_shape(path, shape)
    with scratch.open("xb") as file:
        header = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        file.write(first.tobytes())
        for number, page_YX in enumerate(slices, start=1):
            if page_YX.shape != first.shape or page_YX.dtype != first.dtype:
                raise VolumeError(
                    path,
                    f"slice {number} is {page_YX.shape} of {page_YX.dtype}, the first one "
                    f"{first.shape} of {first.dtype}",
                )
            file.write(page_YX.tobytes())
    volume: NDArray[Any] = np.load(scratch, mmap_mode="r")
    return volume


def _pages_of_stack(path: Path) -> _Pages:
    opened = PillowImage.open(path, formats=["TIFF"])
    count = int(getattr(opened, "n_frames", 1))
    announced = re.search(r"images=(\d+)", str(getattr(opened, "tag_v2", {}).get(270, "")))
    if announced and int(announced[1]) > count:
        raise VolumeError(
            path, f"ImageJ wrote {announced[1]} slices behind one page; save it as a plain TIFF"
        )
    if count < 2:
        raise VolumeError(path, "it holds one page and is no stack")

    def slices() -> Iterator[NDArray[Any]]:
        with opened:
            for number in range(count):
                opened.seek(number)
                yield _read_page(path, opened)

    return count, slices()


def _pages_of_folder(folder: Path) -> _Pages:
    files = [file for file in _visible(folder) if file.suffix.lower() in IMAGE_EXTENSIONS]
    unread = [file for file in _visible(folder) if file.suffix.lower() in UNREAD_EXTENSIONS]
    if unread:
        what = f"{pluralize(len(unread), 'file')} such as {unread[0].name!r}"
        raise VolumeError(folder, f"it holds {what}, whose format is not read")
    if len(files) < 2:
        raise VolumeError(folder, f"it holds {pluralize(len(files), 'slice')}; expected at least 2")
    files.sort(key=lambda file: _natural_sort_key(file.name))

    def slices() -> Iterator[NDArray[Any]]:
        for file in files:
            _require_plain_file(file, folder)
            with PillowImage.open(file, formats=_FORMATS) as opened:
                _refuse_stack(file, opened)
                yield _read_page(file, opened)

    return len(files), slices()


def _refuse_stack(file: Path, opened: PillowImage.Image) -> None:
    """A page of another size, such as a thumbnail, makes no stack of a slice."""
    count = int(getattr(opened, "n_frames", 1))
    if count > 1:
        size = opened.size
        opened.seek(1)
        if opened.size == size:
            advice = "expected CLASS/SPECIMEN.tif, or one slice in each file of CLASS/SPECIMEN."
            raise VolumeError(file, f"it holds {count:,} pages and is no slice", advice)
        opened.seek(0)


def _natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts slice2 before slice10."""
    pieces = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in pieces]


def _read_page(path: Path, opened: PillowImage.Image) -> NDArray[Any]:
    width, height = opened.size
    if width * height > MAX_SLICE_PIXELS:
        raise VolumeError(path, f"a slice of {width} x {height} pixels is too large")
    if opened.mode in ("RGB", "P", "LA", "RGBA"):
        grey = opened.convert("L")
    elif opened.mode in _GREY_MODES:
        if opened.mode == "L":  # signs of more bits are read
            refuse_signed(opened, str(path))
        grey = opened
    else:
        raise VolumeError(path, f"its slices are of mode {opened.mode}, not grey")
    levels_YX = np.asarray(grey)
    if is_white_zero(opened):
        levels_YX = np.iinfo(levels_YX.dtype).max - levels_YX
    return levels_YX.astype(levels_YX.dtype.newbyteorder("="))


@contextmanager
def _as_volume_refused(path: Path) -> Iterator[None]:
    """Convert the exceptions of Pillow for broken files to VolumeError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError) as error:
        # A system error, such as a full disk, is not the volume's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise VolumeError(path, f"it cannot be read: {error or type(error).__name__}") from None
    except ImageError as error:
        raise VolumeError(path, error.reason, error.advice) from None
    except PillowImage.DecompressionBombError:
        raise VolumeError(path, "a slice has more pixels than Pillow reads") from None


def level_quantiles(volume_ZYX: NDArray[Any], quantiles: Sequence[float]) -> list[float]:
    """Quantiles of the grey levels: the smallest level that a fraction of voxels does not exceed.

    Exact for integers of up to 16 bits; otherwise within 2⁻³² of the volume's range. Voxels that
    are not finite are ignored.
    """
    if volume_ZYX.dtype.kind in "bui" and volume_ZYX.dtype.itemsize <= 2:
        return _histogram_quantiles(volume_ZYX, quantiles)
    lowest, highest = _extremes(volume_ZYX)
    return [
        _refined_histogram_quantile(volume_ZYX, quantile, lowest, highest) for quantile in quantiles
    ]


def _histogram_quantiles(volume_ZYX: NDArray[Any], quantiles: Sequence[float]) -> list[float]:
    lowest = 0 if volume_ZYX.dtype.kind in "bu" else int(np.iinfo(volume_ZYX.dtype).min)
    counts = np.zeros(_BINS, np.int64)
    for levels in _finite_slices(volume_ZYX):
        counts += np.bincount(levels.astype(np.int64) - lowest, minlength=_BINS)
    cumulative = np.cumsum(counts)
    wanted = np.maximum(np.ceil(np.array(quantiles) * cumulative[-1]), 1)
    return [float(level + lowest) for level in np.searchsorted(cumulative, wanted)]


def _extremes(volume_ZYX: NDArray[Any]) -> tuple[float, float]:
    lowest, highest = np.inf, -np.inf
    for levels in _finite_slices(volume_ZYX):
        if levels.size:
            lowest, highest = min(lowest, float(levels.min())), max(highest, float(levels.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def _refined_histogram_quantile(
    volume_ZYX: NDArray[Any], quantile: float, low: float, high: float
) -> float:
    """A histogram, then a second one within the bin that holds the quantile."""
    for _ in range(2):
        if high - low <= _BINS * 4 * np.spacing(max(abs(low), abs(high))):
            break  # floating-point resolution
        counts, below, total = np.zeros(_BINS, np.int64), 0, 0
        for levels in _finite_slices(volume_ZYX):
            counts += np.histogram(levels.astype(np.float64), _BINS, (low, high))[0]
            below += int((levels < low).sum())
            total += levels.size
        wanted = max(np.ceil(quantile * total), 1) - below
        chosen = min(int(np.searchsorted(np.cumsum(counts), wanted)), _BINS - 1)
        width = (high - low) / _BINS
        low, high = low + chosen * width, low + (chosen + 1) * width
    return low


def _finite_slices(volume_ZYX: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for page_YX in volume_ZYX:
        levels = np.asarray(page_YX).ravel()
        yield levels[np.isfinite(levels)] if levels.dtype.kind == "f" else levels
