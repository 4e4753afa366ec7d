"""Cut volumes into slices, with the specimen as their group."""

from collections.abc import Sequence
from pathlib import Path

from holotype.dataset.volumes.slicing import SliceOptions, Slices, slice_volumes
from holotype.extras import with_install_advice
from holotype.progress import Progress, default_progress


@with_install_advice
def slice(  # named after the verb
    volumes: str | Path,
    *,
    output: str | Path,
    axes: str | Sequence[str] = "z",
    masks: str | Path | None = None,
    window: tuple[float, float] | None = None,
    size: int | None = None,
    every: int = 1,
    progress: Progress | None = None,
) -> Slices:
    """Cut 3-D images into slices, and write a table with the specimen of each.

    A volume that cannot be read is named in `refused`; the others are written all the same.

    Example:
        >>> slices = holotype.slice("volumes", output="slices", axes="x,y,z")  # doctest: +SKIP
        >>> run = holotype.train(slices.table, recipe="linear")  # doctest: +SKIP

    Args:
        volumes: a folder with CLASS/SPECIMEN.tif, CLASS/SPECIMEN.npy or CLASS/SPECIMEN/0001.png.
        output: a directory that is new or empty.
        axes: along which axes to cut: some of x, y and z, as a sequence or with commas between.
        masks: a folder laid out like the volumes; where a mask is 0, slices are black.
        window: percentiles of the whole volume that become black and white (0.5, 99.5; volumes of
            8 bits as they are).
        size: the longest side of a slice in pixels; larger ones are shrunk.
        every: one of so many slices is taken.

    Raises:
        EmptyDataset: there is no volume, or none that can be used.
        UsageError: an option is out of range, or the output holds something.
    """
    names = axes.lower().split(",") if isinstance(axes, str) else axes
    options = SliceOptions(
        axes=tuple(name.strip() for name in names),
        window=window,
        size=size,
        every=every,
        masks=None if masks is None else Path(masks),
    )
    with (progress or default_progress()).bar("slicing") as update:
        return slice_volumes(Path(volumes), Path(output), options, on_progress=update)
