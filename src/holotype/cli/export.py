"""`holotype export`: a classifier in the formats of other programs."""

import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import AsJson, Needs, Switch
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.errors import UsageError
from holotype.exports.export_format import FormatName
from holotype.pipeline.exporting.export import Exports
from holotype.pipeline.exporting.export import export as export_runs
from holotype.progress import to_stderr
from holotype.text_tables import text_table


def export(
    runs: tuple[str, ...],
    /,
    *,
    output: Path,
    formats: Annotated[
        tuple[FormatName, ...], Parameter(name="--format", consume_multiple=True)
    ] = ("onnx",),
    images: Path | None = None,
    source_size: str | None = None,
    reduce_range: Annotated[
        Switch,
        Needs("formats", "--format int8", "int8"),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Each export is proved on real images by the code of its README, or it is not written.

    Args:
        runs: Runs, bundles or registry://NAME@ALIAS.
        output: A folder with one for each format; with several runs, one of these for each run.
        formats: One or several.
        images: A folder of images to prove exports on; validation images of the run by default.
        source_size: WIDTHxHEIGHT, such as 300x300: resizing and normalising become part of the
            graph, for images of this size; for onnx, fp16 and openvino.
        reduce_range: int8 weights of 7 bits, for processors without VNNI.
    """
    found = export_runs(
        runs, output=output, formats=formats, images=images,
        source_size=_size(source_size), reduce_range=reduce_range, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
        return int(bool(found.refused))
    written = [one for one in found.exports if one.path is not None]
    if written:
        print_result(text_table(Exports.HEADER, [one.cells() for one in written]))
    for one in written:
        if one.note:
            print_result(f"{one.format}: {one.note}")
    for one in found.refused:
        print_message(f"error: {one.format}: {one.refused}")
    if written:
        print_next_command("python", f"{written[0].path}/predict.py", "IMAGE")
    return int(bool(found.refused))


def _size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of WIDTHxHEIGHT."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or "0" in match.groups():
        raise UsageError(f"--source-size {text}: expected WIDTHxHEIGHT, such as 300x300.")
    return int(match[2]), int(match[1])
