"""`holotype.explain`: heatmaps of the evidence for a class, as files and in Python."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import overload

from holotype.arguments import require_directory_place, require_file_place
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.image_sources import Images, as_list, image_sources
from holotype.dataset.atomic_directory import require_apart_from_images
from holotype.dataset.index import read_index_file
from holotype.errors import UsageError
from holotype.explanation.available_methods import (
    GRADIENT_METHODS,
    ExplainMethod,
    ExplainMethodName,
)
from holotype.explanation.explainer import Explainer, Explanations
from holotype.explanation.nearest_training import FileLookup, find_nothing
from holotype.explanation.slice_match_report import write_matches
from holotype.explanation.specimen_matching import (
    SliceMatches,
    match_specimens,
    read_reference_slices,
    read_slices,
)
from holotype.explanation.torch_models import TorchModels, run_of
from holotype.extras import with_install_advice
from holotype.files import require_writable
from holotype.progress import Progress, default_progress
from holotype.registry.resolve_registered import registered_path

PathLike = str | os.PathLike[str]


@overload
def explain(
    run: PathLike,
    images: Images,
    *,
    output: PathLike,
    class_name: str | None = None,
    method: ExplainMethodName = "auto",
    layer: str | None = None,
    similar: int = 0,
    match: None = None,
    progress: Progress | None = None,
) -> Explanations: ...


@overload
def explain(
    run: PathLike,
    images: PathLike | Iterable[PathLike],
    *,
    output: PathLike,
    class_name: str | None = None,
    method: ExplainMethodName = "auto",
    layer: str | None = None,
    similar: int = 0,
    match: PathLike,
    progress: Progress | None = None,
) -> SliceMatches: ...


@with_install_advice
def explain(
    run: PathLike,
    images: Images,
    *,
    output: PathLike,
    class_name: str | None = None,
    method: ExplainMethodName = "auto",
    layer: str | None = None,
    similar: int = 0,
    match: PathLike | None = None,
    progress: Progress | None = None,
) -> Explanations | SliceMatches:
    """Draw the evidence for a class over each image; or match slices with known specimens.

    Example:
        >>> holotype.explain("runs/photos-1", "cat.jpg", output="why.png")  # doctest: +SKIP

    Args:
        run: a run, a stage of it (`RUN@NAME`), a bundle, or `registry://NAME@ALIAS`; gradients need
            a run.
        images: one image or several: paths, folders, bytes, PIL images, uint8 arrays.
        output: a PNG file for one image; a folder for several, with `explanations.csv`.
        class_name: the class to explain; the predicted one of each image by default.
        method: `auto` is what needs no torch: `cam` where the bundle has one, else `occlusion`.
        layer: whose map `gradcam` and `gradcam++` look at; the last one that has a map.
        similar: so many of the most similar training images are drawn too.
        match: instead of heatmaps: labelled slices with their specimens as groups, in a table or as
            folders; those most like each specimen of `images` (paths only) are written to `output`.
        progress: where progress is shown; silent by default, but in a notebook.

    Raises:
        UsageError: several images for one file, options that exclude each other, or a classifier
            that cannot be explained this way.
        ImageError: the only image cannot be used.
        DatasetError: the slices of `match` have no groups.
    """
    progress, output, run = progress or default_progress(), Path(output), registered_path(run)
    if similar < 0:
        raise UsageError(f"--similar {similar}: expected 0 or more.")
    is_one = output.suffix.lower() == ".png"
    (require_file_place if is_one else require_directory_place)(output)
    require_writable(output if is_one else output / "index.html")
    if match is not None:
        if class_name or layer or similar or method != "auto":
            raise UsageError(
                "--match compares slices and draws no heatmap; leave out --class, --method, "
                "--layer and --similar."
            )
        return _match_slices(load_bundle(run), images, match, output, progress)
    if output.suffix and not is_one and not output.is_dir():
        raise UsageError(
            f"--output {str(output)!r}: sheets are PNG files; name a file that ends in .png, or a "
            "folder."
        )
    images = as_list(images)
    require_apart_from_images(output, images)
    sources = image_sources(images, progress)
    if is_one and len(sources) != 1:
        raise UsageError(
            f"--output {str(output)!r} is one file, and {len(sources)} images were named; "
            "name a folder."
        )
    explainer = Explainer(
        load_bundle(run), class_name, explain_method_for(run, method, layer), similar,
        training_file_lookup(run) if similar else find_nothing,
    )  # fmt: skip
    if is_one:
        return Explanations(output, (explainer.explain(sources[0], output),))
    with progress.bar("explaining") as update:
        return explainer.write_sheets(sources, output, on_progress=update)


def _match_slices(
    bundle: Bundle, images: Images, references: PathLike, output: Path, progress: Progress
) -> SliceMatches:
    if output.suffix and not output.is_dir():
        raise UsageError(f"--output {str(output)!r}: --match writes into a folder; name one.")
    known = read_reference_slices(Path(references))
    slices = read_slices(_paths(images))
    with progress.bar("comparing slices") as update:
        matches = match_specimens(bundle, slices, known, on_progress=update)
    write_matches(matches, output)
    return matches


def _paths(images: Images) -> list[Path]:
    if isinstance(images, str | os.PathLike):
        return [Path(images)]
    named: list[object] = list(images) if isinstance(images, Iterable) else [images]
    paths = [Path(one) for one in named if isinstance(one, str | os.PathLike)]
    if len(paths) < len(named):
        raise UsageError("--match needs paths of slices: they say of which specimen each is.")
    return paths


def explain_method_for(
    run: PathLike, method: ExplainMethodName = "auto", layer: str | None = None
) -> ExplainMethod:
    """How to look, with the networks in torch where the method needs them and a run has them."""
    has_run = run_of(run) is not None
    return ExplainMethod(
        method, layer, TorchModels(run) if method in GRADIENT_METHODS and has_run else None
    )


def training_file_lookup(run: PathLike) -> FileLookup:
    """Where the images of a run's index are now; nowhere, for a bundle without its run."""
    parent_run = run_of(run)
    if parent_run is None or not parent_run.index.is_file():
        return find_nothing

    index = read_index_file(parent_run.index)

    def find_file(name: str) -> Path | None:
        file = index.file(name)
        return file if file.is_file() else None

    return find_file
