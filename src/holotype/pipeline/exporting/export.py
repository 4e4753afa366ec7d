"""A classifier in the formats of other programs: `holotype.export`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.comparison.cost import evenly_spread, size_on_disk
from holotype.dataset.atomic_directory import require_empty, staged_directory
from holotype.dataset.index import Index, read_index_file
from holotype.errors import ExportRefused, HolotypeError, UsageError, require_one_of
from holotype.explanation.torch_models import run_of
from holotype.exports.export_format import ExportOptions, FormatName
from holotype.exports.write_export import (
    LEAST_PROOF_IMAGES,
    Parity,
    ProofImages,
    write_format,
)
from holotype.extras import with_install_advice
from holotype.notebook import data_frame, html_result, html_table
from holotype.pipeline.compared.compared_runs import unique_names
from holotype.pipeline.exporting.export_int8 import write_int8
from holotype.progress import Progress, default_progress
from holotype.registry.resolve_registered import registered_path
from holotype.text_tables import short_text

if TYPE_CHECKING:
    import pandas as pd

PROOF_IMAGES = 32
FORMATS: tuple[FormatName, ...] = get_args(FormatName)


@dataclass(frozen=True)
class Export:
    """One run in one format.

    Attributes:
        run: as it was named.
        format: its name.
        path: the directory; None where it was refused.
        parity: how it agrees with the bundle, on real images.
        size_bytes: of all files.
        refused: why there is none.
        note: what is to be known of it, such as what int8 cost and gained.
    """

    run: str
    format: FormatName
    path: Path | None = None
    parity: Parity | None = None
    size_bytes: int = 0
    refused: str = ""
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Of a row: run, format, size, agreement, path."""
        if self.parity is None:
            return self.run, self.format, "–", self.refused, "–"
        size = f"{self.size_bytes / 1e6:.1f} MB"
        return self.run, self.format, size, f"{self.parity.largest_difference:.1e}", str(self.path)


@dataclass(frozen=True, repr=False)
class Exports:
    """What was written, and what was refused."""

    exports: tuple[Export, ...]

    HEADER = ("run", "format", "size", "difference", "path")

    @property
    def refused(self) -> tuple[Export, ...]:
        return tuple(one for one in self.exports if one.path is None)

    def to_json(self) -> dict[str, Any]:
        """As `holotype export --json` prints it."""
        return {
            "exports": [
                {
                    "run": one.run,
                    "format": one.format,
                    "path": one.path and str(one.path),
                    "size_bytes": one.size_bytes,
                    "images": one.parity and one.parity.images,
                    "largest_difference": one.parity and one.parity.largest_difference,
                    "same_class": one.parity and one.parity.same_class,
                    "refused": one.refused,
                    "note": one.note,
                }
                for one in self.exports
            ]
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per run and format."""
        rows = self.to_json()["exports"]
        return data_frame({key: [row[key] for row in rows] for key in rows[0]})

    def __repr__(self) -> str:
        lines = [
            f"{one.format}: {one.refused or f'{one.parity}; {one.path}'}" for one in self.exports
        ]
        return short_text(f"Exports of {len(self.exports)} formats", *lines)

    def _repr_html_(self) -> str:
        return html_result("Exports", html_table(self.HEADER, [e.cells() for e in self.exports]))


@with_install_advice
def export(
    runs: "Sequence[str | os.PathLike[str]] | str | os.PathLike[str]",
    *,
    output: str | Path,
    formats: Sequence[FormatName] = ("onnx",),
    images: str | Path | None = None,
    source_size: tuple[int, int] | None = None,
    reduce_range: bool = False,
    progress: Progress | None = None,
) -> Exports:
    """Write classifiers in the formats of other programs, each proved on real images.

    Example:
        >>> holotype.export("runs/photos-1", formats=["onnx"], output="exported")  # doctest: +SKIP

    Args:
        runs: runs, bundles or `registry://NAME@ALIAS`; one or several.
        output: a folder with one for each format; with several runs, one of these for each run.
        formats: `onnx`, `int8`, `fp16`, `openvino`, `torchscript`, `pt2`, `state_dict`,
            `savedmodel`, `tflite`.
        images: a folder of images to prove exports on; validation images of the run by default.
        source_size: (height, width) of the images that will come: preprocessing becomes part of the
            graph; for `onnx`, `fp16` and `openvino`.
        reduce_range: int8 weights of 7 bits, for processors without VNNI.

    Returns:
        A row for each run and format; one that was refused says why.

    Raises:
        UsageError: an unknown format, or an output that is not empty.
        ExportRefused: the only format asked for cannot hold the classifier.
        ParityFailed: the only format asked for gives other answers.
    """
    progress = progress or default_progress()
    runs = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    wanted = list(dict.fromkeys(formats))
    for name in wanted:
        require_one_of("format", name, FORMATS)
    if not runs or not wanted:
        raise UsageError("nothing to export; expected a run and a format, such as onnx.")
    places = _places(runs, wanted, Path(output))
    found = []
    for (run, name), directory in places.items():
        progress.log(f"exporting {run} as {name}")
        options = ExportOptions(source_size, run)
        try:
            found.append(_export(name, directory, options, images, reduce_range, progress))
        except HolotypeError as error:
            if len(places) == 1:
                raise
            found.append(Export(run, name, refused=str(error)))
            progress.log(f"refused: {error}")
    return Exports(tuple(found))


def _places(
    runs: Sequence[str | os.PathLike[str]], formats: Sequence[FormatName], output: Path
) -> dict[tuple[str, FormatName], Path]:
    """Where each run goes in each format; nothing is there yet."""
    named = [os.fspath(run) for run in runs]
    if len(set(named)) < len(named):
        raise UsageError("a run is named twice.")
    folders = [output / name for name in unique_names(named)] if len(named) > 1 else [output]
    places = {
        (run, name): folder / name
        for run, folder in zip(named, folders, strict=True)
        for name in formats
    }
    for directory in places.values():
        require_empty(directory)
    return places


def _export(
    name: FormatName,
    directory: Path,
    options: ExportOptions,
    images: str | Path | None,
    reduce_range: bool,
    progress: Progress,
) -> Export:
    path = registered_path(options.run)
    bundle = load_bundle(path)
    run = run_of(path)
    index = read_index_file(run.index) if run is not None and run.index.is_file() else None
    note = ""
    with staged_directory(directory) as staged:
        if name == "int8":
            options.require_no_size(name)
            if run is None or index is None:
                raise ExportRefused(
                    f"{bundle.name}: int8 is calibrated on training images and judged on "
                    "validation; export the run that made this bundle."
                )
            parity, note = write_int8(bundle, run, index, staged, reduce_range, progress)
        else:
            proof = _proof_images(bundle, index, images)
            parity = write_format(bundle, name, staged, proof, replace(options, run=str(path)))
    return Export(options.run, name, directory, parity, size_on_disk(directory), note=note)


def _proof_images(bundle: Bundle, index: Index | None, images: str | Path | None) -> ProofImages:
    """Real images, evenly spread, and the probabilities of the bundle.

    Raises:
        ExportRefused: there are none.
    """
    if images is not None:
        files = [Path(source.id) for source in image_sources(images) if Path(source.id).is_file()]
    else:
        files = []
        if index is not None:
            validation = index.part("val")
            table = (validation if len(validation) else index).table
            files = [file for path in table["path"] if (file := index.file(path)).is_file()]
    proof = evenly_spread(files, PROOF_IMAGES)
    predictions = predict_images(bundle, image_sources(proof)) if proof else None
    if predictions is None or len(predictions) < LEAST_PROOF_IMAGES:
        raise ExportRefused(
            f"{bundle.name}: no images to prove an export on: those that it was trained from are "
            "not here. Name a folder of images: --images FOLDER."
        )
    usable = [Path(name) for name in predictions.ids]
    return ProofImages(usable, predictions.probabilities_NC)
