"""A finished run explains its answers: its network in torch again, and where its images are.

A run keeps the best weights of every stage of gradient descent. From these, its recipe and its
bundle the network is built again, and must give the logits of the bundle before anything that it
says is shown.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from holotype.architectures.catalog import architecture, is_custom_model
from holotype.architectures.pretrained_weights import NONE, find_weights
from holotype.bundle.building.parity import check_parity
from holotype.bundle.bundle import MANIFEST, Bundle, load_bundle
from holotype.bundle.inference import find_files, run_head
from holotype.bundle.manifest import HEAD
from holotype.bundle.onnx_sessions import run_session
from holotype.dataset.index import read_index_file
from holotype.errors import ImageError, UsageError
from holotype.explanation.available_methods import (
    GRADIENT_METHODS,
    ExplainMethod,
    ExplainMethodName,
)
from holotype.explanation.explanation_figures import Explanation, explain, explain_all
from holotype.explanation.nearest_training import FileLookup, find_nothing
from holotype.explanation.slice_match_report import write_matches
from holotype.explanation.slice_matching import (
    SliceMatches,
    match_specimens,
    read_reference_slices,
    read_slices,
)
from holotype.progress import Progress
from holotype.run_directory import RunDirectory, run_path
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.pretrained_backbone import PretrainedBackbone
from holotype.training.finetuning.checkpoint import read_stage_result

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import Classifier

PROBES = 4  # made-up model inputs on which both forms of a network are compared
WITHOUT_TORCH = "What works without: `--method auto`, `cam` (where there is one), `occlusion`."


def explain_images(
    run: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    *,
    class_name: str | None = None,
    method: "ExplainMethodName" = "auto",
    layer: str | None = None,
    num_similar: int = 0,
    progress: Progress | None = None,
) -> "tuple[list[Explanation], list[ImageError]]":
    """A sheet for every image; one PNG for one image, a folder with a table for several.

    Args:
        run: a run, or a bundle; gradients need a run.
        images: files, and folders with all images in them.
        output: a file that ends in .png, or a folder.
        class_name: the class to look for; the predicted one of each image by default.
        method, layer: how to look, see `explanation.methods.ExplainMethod`.
        num_similar: so many training images that look most alike are drawn too.

    Raises:
        UsageError: several images for one file, or this classifier cannot be explained this way.
        ImageError: the only image cannot be used.
    """
    progress, output = progress or Progress(), Path(output)
    is_one = output.suffix.lower() == ".png"
    if output.suffix and not is_one and not output.is_dir():
        raise UsageError(
            f"--output {str(output)!r}: sheets are PNG files; name a file that ends in .png, or a "
            "folder."
        )
    files = [file.path for file in find_files([Path(image) for image in images])]
    if is_one and len(files) > 1:
        raise UsageError(
            f"--output {str(output)!r} is one file, and {len(files)} images were named; "
            "name a folder."
        )
    bundle = load_bundle(run)
    explain_method, find_file = explain_method_for(run, method, layer), training_file_lookup(run)
    if is_one:
        found = explain(
            bundle,
            files[0],
            output,
            class_name=class_name,
            explain_method=explain_method,
            num_similar=num_similar,
            find_file=find_file,
        )
        return [Explanation(files[0], output, found)], []
    with progress.bar("explaining") as update:
        return explain_all(
            bundle, files, output, class_name=class_name, explain_method=explain_method,
            num_similar=num_similar, find_file=find_file, on_progress=update,
        )  # fmt: skip


def match_slices(
    run: str | Path,
    images: Sequence[str | Path],
    references: str | Path,
    output: str | Path,
    *,
    progress: Progress | None = None,
) -> "SliceMatches":
    """The reference specimens that look most like those of some slices; see `explanation.slices`.

    Args:
        run: what says of which class each slice is.
        images: slices, tables of slices, or folders of them, such as `holotype slice` writes.
        references: labelled slices with their specimens as groups, in a table or as folders.
        output: a folder for `matches.csv` and the sheets.

    Raises:
        DatasetError: the references have no groups.
    """
    progress = progress or Progress()
    bundle = load_bundle(run)
    known = read_reference_slices(references)
    slices = read_slices([Path(image) for image in images])
    with progress.bar("comparing slices") as update:
        matches = match_specimens(bundle, slices, known, on_progress=update)
    write_matches(matches, Path(output))
    return matches


def explain_method_for(
    run: str | Path, method: "ExplainMethodName" = "auto", layer: str | None = None
) -> "ExplainMethod":
    """How to look, with the networks in torch where the method needs them and a run has them."""
    has_run = _run_of(run) is not None
    return ExplainMethod(
        method, layer, TorchModels(run) if method in GRADIENT_METHODS and has_run else None
    )


def training_file_lookup(run: str | Path) -> "FileLookup":
    """Where the images of a run's index are now; nowhere, for a bundle without its run."""
    parent_run = _run_of(run)
    if parent_run is None or not parent_run.index.is_file():
        return find_nothing

    index = read_index_file(parent_run.index)

    def find_file(name: str) -> Path | None:
        file = index.file(name)
        return file if file.is_file() else None

    return find_file


@dataclass(eq=False)
class TorchModels:
    """The networks of a run, and of its folds, in torch; each is built when it is first asked for.

    Attributes:
        path: of the run.
    """

    path: str | Path

    def __post_init__(self) -> None:
        self._built: dict[str, Classifier] = {}

    def __call__(self, bundle: "Bundle") -> "Classifier":
        """The network whose bundle this is.

        Raises:
            UsageError: none of the runs here made it, or it is no network.
            ParityFailed: what was built gives other logits.
        """
        if bundle.sha256 not in self._built:
            for run in _runs_within(self.path):
                if _bundle_hash(run) == bundle.sha256:
                    self._built[bundle.sha256] = rebuild_classifier(run, bundle)
                    break
            else:
                raise UsageError(
                    f"the run that made {bundle.name} is not within {str(self.path)!r}, so there "
                    "are no weights to differentiate; explain that run itself. " + WITHOUT_TORCH
                )
        return self._built[bundle.sha256]


def rebuild_classifier(run: RunDirectory, bundle: "Bundle") -> "Classifier":
    """The network of a finished run in torch, frozen, with the weights that ship.

    Raises:
        UsageError: descriptors, a network from a user's file, or a run without its weights.
        ParityFailed: its logits are not those of the bundle.
    """
    from holotype.architectures.gradcam import frozen, logits_of

    if architecture(bundle.manifest.model).kind == "classical":
        raise UsageError(
            f"{bundle.manifest.model} describes images and is no network, so it has no "
            "gradients. Take --method occlusion."
        )
    if is_custom_model(bundle.manifest.model):
        raise UsageError(
            f"{bundle.manifest.model} is a function in a file of yours, which is run only by "
            f"`holotype train --model`, so its gradients cannot be had here. {WITHOUT_TORCH}"
        )
    recipe = resolve_recipe(run.recipe)
    build = _from_checkpoint if recipe.gradient_stages else _from_linear_head
    classifier = frozen(build(run, bundle))
    size = recipe.image_size
    # Broad stripes of all directions: any network tells them apart.
    probes_NCHW = np.random.default_rng(0).normal(size=(PROBES, 3, 4, 4)).astype(np.float32)
    steps = np.arange(size) * 4 // size
    probes_NCHW = np.ascontiguousarray(probes_NCHW[:, :, steps][:, :, :, steps])
    (embedding_ND,) = run_session(bundle.backbone, probes_NCHW, ["embedding"])
    check_parity(
        run_head(bundle, embedding_ND), logits_of(classifier, probes_NCHW),
        what=f"{run.path}: its bundle and its weights in torch", tolerance=1e-3,
    )  # fmt: skip
    return classifier


def _from_checkpoint(run: RunDirectory, bundle: "Bundle") -> "Classifier":
    """From the best weights of the last stage of gradient descent."""
    from holotype.architectures.build_backbone import build_backbone
    from holotype.architectures.torch_classifier import Classifier

    recipe = resolve_recipe(run.recipe)
    # What a stage left lies with the run that it belongs to.
    whole = run.root_run
    ended = read_stage_result(whole.checkpoints, recipe.gradient_stages[-1].name)
    if ended is None:
        raise UsageError(
            f"{str(whole.checkpoints)!r} no longer holds the weights of this run, which gradients "
            f"need. {WITHOUT_TORCH}"
        )
    # Every tensor is in the checkpoint: the pretrained file need not be there.
    kind = architecture(recipe.model).kind
    weights = find_weights(recipe.model, NONE, recipe.model_options)
    backbone = build_backbone(
        recipe.model, weights, recipe.image_size, seed=recipe.seed, options=recipe.model_options
    )
    manifest = bundle.manifest
    size, num_classes = manifest.embedding_size, len(manifest.classes)
    classifier = Classifier(backbone, size, num_classes, recipe.head_spec)
    try:
        classifier.load_state_dict(ended[1])
    except RuntimeError as error:
        raise UsageError(
            f"the weights of {str(whole.path)!r} do not fit {recipe.model} as it is built today "
            f"({kind}: {str(error).splitlines()[-1].strip()[:160]}). {WITHOUT_TORCH}"
        ) from None
    return classifier


def _from_linear_head(run: RunDirectory, bundle: "Bundle") -> "Classifier":
    """The network as training started from it, and the linear head that the bundle has."""
    import onnx
    from onnx import numpy_helper

    from holotype.architectures.gradcam import set_linear_head
    from holotype.architectures.torch_classifier import Classifier

    recipe = resolve_recipe(run.recipe)
    graph = onnx.load_model_from_string(bundle.graphs[HEAD]).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    if [node.op_type for node in graph.node] != ["Gemm"] or not {"weight", "bias"} <= set(tensors):
        raise UsageError(
            f"the head of {str(run.path)!r} ({recipe.stages[-1].method}) has no gradient. "
            "Take --method occlusion."
        )
    backbone = PretrainedBackbone(recipe, read_index_file(run.index), Progress()).backbone
    classifier = Classifier(backbone, bundle.manifest.embedding_size, len(bundle.classes))
    set_linear_head(classifier, tensors["weight"], tensors["bias"])
    return classifier


def _run_of(path: str | Path) -> RunDirectory | None:
    """The run of a path, which may be its bundle; None for a bundle alone."""
    directory = run_path(path)
    for candidate in (RunDirectory(directory), RunDirectory(directory.absolute().parent)):
        of_itself = candidate.path == directory or candidate.bundle == directory.absolute()
        if of_itself and candidate.recipe.is_file():
            return candidate
    return None


def _runs_within(path: str | Path) -> Iterator[RunDirectory]:
    """A run and, where it is the mean of folds, theirs."""
    run = _run_of(path)
    if run is None:
        return
    yield run
    if run.folds.is_dir():
        for folder in sorted(run.folds.iterdir()):
            yield from _runs_within(folder)


def _bundle_hash(run: RunDirectory) -> str | None:
    """The bundle's identity, without reading its graphs."""
    try:
        return hashlib.sha256((run.bundle / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return None
