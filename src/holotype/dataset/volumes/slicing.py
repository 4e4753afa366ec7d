"""Cut volumes into 8-bit grey images, with the specimen as their group.

    OUTPUT/CLASS/SPECIMEN/z-0012.png     grey, 8 bits
    OUTPUT/table.csv                     path, label, group (the specimen)
    OUTPUT/slices.json                   the options, and a record of every volume

Levels are windowed by percentiles of the whole volume, which single bright voxels do not affect.

Arrays: Z slices, Y rows, X columns of a volume; H rows, W columns of one slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.dataset.atomic_directory import (
    TABLE_FILENAME,
    require_outside,
    staged_directory,
    write_table,
)
from holotype.dataset.volumes.tiff_volumes import (
    VolumeSource,
    find_volumes,
    level_quantiles,
    open_volume,
    unread_files,
)
from holotype.errors import EmptyDataset, UsageError, VolumeError
from holotype.files import temporary_directory, write_json
from holotype.notebook import html_result
from holotype.progress import ProgressCallback, pluralize
from holotype.text_tables import short_text

if TYPE_CHECKING:
    import pandas as pd

AXES = "zyx"
DEFAULT_WINDOW = (0.5, 99.5)  # percent
SLICES_FILENAME = "slices.json"
# A slice with a smaller share of pixels above the Otsu threshold is empty.
MIN_FOREGROUND_FRACTION = 0.01
_BLOCK_BYTES = 1 << 28


@dataclass(frozen=True)
class SliceOptions:
    """How volumes are cut.

    Attributes:
        axes: some of `z`, `y` and `x`; slices along z are the scanner's.
        window: percentiles of the whole volume that become black and white; None for 0.5 and 99.5,
            or no windowing for 8-bit volumes.
        size: longest side of a slice in pixels; larger slices are shrunk.
        every: take one of so many slices.
        masks: a folder laid out like the volumes; voxels where a mask is 0 become black.
    """

    axes: tuple[str, ...] = ("z",)
    window: tuple[float, float] | None = None
    size: int | None = None
    every: int = 1
    masks: Path | None = None

    def __post_init__(self) -> None:
        if not self.axes or not set(self.axes) <= set(AXES) or len(set(self.axes)) < len(self.axes):
            raise UsageError(f"--axes {','.join(self.axes)!r}: expected some of x, y and z once.")
        if self.window is not None and not 0 <= self.window[0] < self.window[1] <= 100:
            raise UsageError(
                f"--window {self.window[0]:g} {self.window[1]:g}: expected two percentiles in "
                "rising order, such as 0.5 99.5."
            )
        if self.size is not None and self.size < 8:
            raise UsageError(f"--size {self.size}: expected at least 8 pixels.")
        if self.every < 1:
            raise UsageError(f"--every {self.every}: expected 1 or more.")


@dataclass(frozen=True, repr=False)
class Slices:
    """The result of cutting volumes into slices.

    Attributes:
        path: the directory with the slices, table.csv and slices.json.
        num_volumes: that were cut.
        num_slices: that were written.
        num_empty: empty slices, which were not written.
        refused: volumes that could not be read.
        not_used: files that are no volumes.
    """

    path: Path
    num_volumes: int
    num_slices: int
    num_empty: int
    refused: tuple[VolumeError, ...]
    not_used: tuple[str, ...] = ()

    @property
    def table(self) -> Path:
        """`table.csv`, which `holotype train` takes."""
        return self.path / TABLE_FILENAME

    def to_frame(self) -> "pd.DataFrame":
        """The rows of table.csv: path, label and group, which is the specimen."""
        import pandas as pd

        return pd.read_csv(self.table, dtype=str, keep_default_na=False)

    def to_json(self) -> dict[str, Any]:
        """As `holotype slice --json` prints it."""
        return {
            "table": str(self.table),
            "volumes": self.num_volumes,
            "slices": self.num_slices,
            "empty": self.num_empty,
            "refused": {one.file: one.reason for one in self.refused},
            "not_used": list(self.not_used),
        }

    def __str__(self) -> str:
        slices = pluralize(self.num_slices, "slice")
        return (
            f"{slices} of {pluralize(self.num_volumes, 'specimen')}; "
            f"{self.num_empty:,} empty ones left out"
        )

    def __repr__(self) -> str:
        return short_text(f"Slices in {self.path}", str(self), *self._refusals)

    def _repr_html_(self) -> str:
        return html_result(f"Slices in {self.path}", notes=[str(self), *self._refusals])

    @property
    def _refusals(self) -> list[str]:
        return [f"left out: {one}" for one in self.refused]


def slice_volumes(
    volumes: Path,
    output: Path,
    options: SliceOptions | None = None,
    *,
    on_progress: ProgressCallback | None = None,
) -> Slices:
    """Cut every volume below a folder into images; unreadable ones are skipped and reported.

    Args:
        volumes: with CLASS/SPECIMEN.tif, CLASS/SPECIMEN.npy or CLASS/SPECIMEN/0001.png.
        output: a directory that is new or empty.
        on_progress: called with (volumes done, all volumes).

    Raises:
        EmptyDataset: there is no volume, or none gives a slice.
        UsageError: the output is not empty, or is within the volumes.
    """
    options = options or SliceOptions()
    specimens = find_volumes(volumes) if volumes.is_dir() else []
    refused, others = unread_files(volumes) if volumes.is_dir() else ([], [])
    if not specimens:
        raise EmptyDataset(
            f"{str(volumes)!r} holds no volumes; expected CLASS/SPECIMEN.tif, CLASS/SPECIMEN.npy "
            "or CLASS/SPECIMEN/0001.png." + (f" It holds {refused[0]}" if refused else "")
        )
    require_outside(output, volumes, *([options.masks] if options.masks else []))
    masks = _find_masks(options.masks)
    rows: list[tuple[str, str, str]] = []
    records: list[dict[str, Any]] = []
    with staged_directory(output) as directory:
        seen: dict[str, Path] = {}
        for done, specimen in enumerate(specimens):
            try:
                _require_unique_name(seen, specimen)
                paths, volume_record = _slice_volume(specimen, volumes, directory, options, masks)
            except VolumeError as refusal:
                refused.append(refusal)
            else:
                rows += [(path, specimen.label, specimen.group) for path in paths]
                records.append(volume_record)
            if on_progress is not None:
                on_progress(done + 1, len(specimens))
        if not rows:
            raise EmptyDataset(
                f"none of the {len(specimens):,} volumes in {str(volumes)!r} "
                "gave a slice; "
                + (f"the first: {refused[0]}" if refused else "all of their slices are empty.")
            )
        write_table(directory, ("path", "label", "group"), rows)
        record = {
            "holotype_slices": 1,
            "axes": list(options.axes),
            "size": options.size,
            "every": options.every,
            "masks": str(options.masks) if options.masks else None,
            "volumes": records,
            "refused": [{"file": one.file, "reason": one.reason} for one in refused],
        }
        write_json(directory / SLICES_FILENAME, record)
    return Slices(
        output,
        len(records),
        len(rows),
        sum(record["empty"] for record in records),
        tuple(refused),
        tuple(map(str, others)),
    )


def _require_unique_name(seen: dict[str, Path], specimen: VolumeSource) -> None:
    first = seen.setdefault(specimen.group.casefold(), specimen.path)
    if first != specimen.path:
        raise VolumeError(
            specimen.path,
            f"{first.name!r} in the same class has the same name",
            "expected one volume for each specimen. Rename or move one of them.",
        )


def _find_masks(folder: Path | None) -> dict[str, Path] | None:
    """specimen -> the path of its mask."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise UsageError(f"--masks {str(folder)!r}: expected a folder laid out like the volumes.")
    return {one.group: one.path for one in find_volumes(folder)}


def _slice_volume(
    specimen: VolumeSource,
    volumes: Path,
    directory: Path,
    options: SliceOptions,
    masks: dict[str, Path] | None,
) -> tuple[list[str], dict[str, Any]]:
    """The paths of the slices of one volume, and its record for slices.json."""
    with temporary_directory(directory.parent) as scratch:
        volume_ZYX = open_volume(specimen.path, scratch / "volume.npy")
        mask_ZYX = _mask_of(specimen, masks, volume_ZYX.shape, scratch)
        window = options.window
        if window is None and volume_ZYX.dtype != np.uint8:
            window = DEFAULT_WINDOW
        black, white = _window_levels(volume_ZYX, window)
        grey_window = _GreyWindow(black, white, options.size)
        otsu_threshold = _otsu_threshold(volume_ZYX, grey_window)
        folder = directory / specimen.label / specimen.name
        folder.mkdir(parents=True)
        paths, empty = [], 0
        for name, levels_HW, mask_HW in _iter_slices(volume_ZYX, mask_ZYX, options):
            grey_HW = grey_window.grey(levels_HW)
            if mask_HW is not None:
                grey_HW = np.where(mask_HW != 0, grey_HW, 0)
            if (grey_HW > otsu_threshold).mean() < MIN_FOREGROUND_FRACTION:
                empty += 1
                continue
            grey_window.to_pillow(grey_HW).save(folder / f"{name}.png", compress_level=1)
            paths.append(f"{specimen.label}/{specimen.name}/{name}.png")
    record = {
        "specimen": specimen.group,
        "file": specimen.path.relative_to(volumes).as_posix(),
        "shape": list(volume_ZYX.shape),
        "dtype": str(volume_ZYX.dtype),
        "window_percent": list(window) if window else None,
        "black_level": black,
        "white_level": white,
        "otsu_threshold": otsu_threshold,
        "masked": mask_ZYX is not None,
        "slices": len(paths),
        "empty": empty,
    }
    return paths, record


def _mask_of(
    specimen: VolumeSource, masks: dict[str, Path] | None, shape: tuple[int, ...], scratch: Path
) -> NDArray[Any] | None:
    if masks is None:
        return None
    if specimen.group not in masks:
        advice = "expected a mask of the same class and name below --masks."
        raise VolumeError(specimen.path, "there is no mask for it", advice)
    mask_ZYX = open_volume(masks[specimen.group], scratch / "mask.npy")
    if mask_ZYX.shape != shape:
        raise VolumeError(
            specimen.path,
            f"its mask is of shape {mask_ZYX.shape}, the volume of {shape}",
            "expected a mask with a voxel for every voxel of the volume.",
        )
    return mask_ZYX


def _window_levels(
    volume_ZYX: NDArray[Any], window: tuple[float, float] | None
) -> tuple[float, float]:
    """The grey levels that become black and white."""
    if window is None:
        return 0.0, 255.0
    black, white = level_quantiles(volume_ZYX, [percent / 100 for percent in window])
    return (black, white) if white > black else (black, black + 1)


@dataclass(frozen=True)
class _GreyWindow:
    """Converts grey levels to an 8-bit image."""

    black: float
    white: float
    size: int | None

    def grey(self, levels_HW: NDArray[Any]) -> NDArray[np.uint8]:
        """(H, W) of 0 to 255; NaN becomes black."""
        scaled_HW = (levels_HW.astype(np.float64) - self.black) / (self.white - self.black)
        finite_HW = np.nan_to_num(scaled_HW, nan=0.0, posinf=1.0, neginf=0.0)
        return (finite_HW.clip(0, 1) * 255).round().astype(np.uint8)

    def to_pillow(self, grey_HW: NDArray[np.uint8]) -> PillowImage.Image:
        image = PillowImage.fromarray(grey_HW)
        if self.size is not None and max(image.size) > self.size:
            image.thumbnail((self.size, self.size), PillowImage.Resampling.LANCZOS)
        return image


def _otsu_threshold(volume_ZYX: NDArray[Any], grey_window: _GreyWindow) -> int:
    """Otsu's threshold of the windowed volume; 0 if it has one grey level.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms". Own code, since
    scikit-image's counts in float32.
    """
    counts = np.zeros(256)
    for page_YX in volume_ZYX:
        counts += np.bincount(grey_window.grey(page_YX).ravel(), minlength=256)
    grey = np.arange(256)
    below, moment = np.cumsum(counts), np.cumsum(counts * grey)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    return int(np.nan_to_num(between).argmax())


def _iter_slices(
    volume_ZYX: NDArray[Any], mask_ZYX: NDArray[Any] | None, options: SliceOptions
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any] | None]]:
    """(name, slice, mask) along all axes."""
    for axis in options.axes:
        number = AXES.index(axis)
        positions = range(0, volume_ZYX.shape[number], options.every)
        slice_bytes = volume_ZYX.nbytes // volume_ZYX.shape[number]
        # Several at once, since a slice along y or x reads nearly the whole file.
        num_at_once = max(1, _BLOCK_BYTES // slice_bytes)
        for start in range(0, len(positions), num_at_once):
            chosen = positions[start : start + num_at_once]
            cut: list[slice] = [slice(None)] * 3
            cut[number] = slice(chosen.start, chosen.stop, chosen.step)
            levels = np.moveaxis(np.array(volume_ZYX[tuple(cut)]), number, 0)
            masks_at_once = None
            if mask_ZYX is not None:
                masks_at_once = np.moveaxis(np.array(mask_ZYX[tuple(cut)]), number, 0)
            for place, position in enumerate(chosen):
                mask_HW = None if masks_at_once is None else masks_at_once[place]
                yield f"{axis}-{position:04d}", levels[place], mask_HW
