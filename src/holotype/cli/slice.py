"""`holotype slice`: 3-D images become slices that remember their specimen."""

from pathlib import Path

from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.pipeline.slice import slice as slice_files
from holotype.progress import pluralize, to_stderr


def slice(  # named after the verb
    volumes: Path,
    /,
    *,
    output: Path,
    axes: str = "z",
    masks: Path | None = None,
    window: tuple[float, float] | None = None,
    size: int | None = None,
    every: int = 1,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if some volume was refused; the others are written all the same.

    Args:
        volumes: A folder with CLASS/SPECIMEN.tif, CLASS/SPECIMEN.npy or CLASS/SPECIMEN/0001.png.
        output: The directory to write; it must be new or empty.
        axes: Along which axes to cut: z, or x,y,z.
        masks: A folder laid out like the volumes; where a mask is 0, slices are black.
        window: Percentiles of the whole volume that become black and white (0.5 99.5; volumes of
            8 bits as they are).
        size: Longest side of a slice in pixels; larger ones are shrunk.
        every: Take one of so many slices.
    """
    sliced = slice_files(
        volumes,
        output=output,
        axes=axes,
        masks=masks,
        window=window,
        size=size,
        every=every,
        progress=to_stderr(),
    )
    if sliced.not_used:
        files = pluralize(len(sliced.not_used), "file")
        print_message(f"not used: {files} that are no volumes, such as {sliced.not_used[0]!r}.")
    for refusal in sliced.refused:
        print_message(f"left out: {refusal}")
    if as_json:
        print_json(sliced.to_json())
    else:
        print_result(str(sliced))
        print_result(f"table     {sliced.table}")
    print_next_command("holotype", "train", sliced.table)
    return 1 if sliced.refused else 0
