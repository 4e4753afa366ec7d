"""Rebuild the network of a finished run in torch, for explanations that need gradients.

A run keeps the best weights of every stage of fine-tuning. The network that is rebuilt from these,
the recipe and the bundle must give the logits of the bundle before it is used.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holotype.architectures.catalog import architecture, is_custom_model
from holotype.architectures.dense_head_onnx import read_projection
from holotype.bundle.building.parity import check_parity
from holotype.bundle.bundle import MANIFEST, Bundle
from holotype.bundle.inference import run_head
from holotype.bundle.manifest import BACKBONE, HEAD
from holotype.bundle.onnx_runtime import run_session
from holotype.dataset.index import read_index_file
from holotype.errors import UsageError
from holotype.files import sha256_of
from holotype.progress import Progress
from holotype.run_directory import RunDirectory, run_path
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.initial_backbone import PretrainedBackbone
from holotype.training.finetuning.checkpoint import read_stage_result

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import TorchClassifier

PROBES = 4  # made-up model inputs on which both forms of a network are compared
WITHOUT_TORCH = "What works without: `--method auto`, `cam` (where there is one), `occlusion`."


@dataclass(eq=False)
class TorchModels:
    """The networks of a run, and of its folds, in torch; each is built when it is first asked for.

    Attributes:
        path: of the run.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        self._built: dict[str, TorchClassifier] = {}

    def __call__(self, bundle: Bundle) -> "TorchClassifier":
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
                    f"the run that made {bundle.name} is not within {os.fspath(self.path)!r}, so "
                    "there are no weights to differentiate; explain that run itself. "
                    + WITHOUT_TORCH
                )
        return self._built[bundle.sha256]


def rebuild_classifier(run: RunDirectory, bundle: Bundle) -> "TorchClassifier":
    """The network of a finished run in torch, frozen, with the weights that ship.

    Raises:
        UsageError: descriptors, a network from a user's file, or a run without its weights.
        ParityFailed: its logits are not those of the bundle.
    """
    from holotype.architectures.gradient_attribution import frozen, logits_of

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
    build = _from_checkpoint if recipe.gradient_stages else _from_fitted_head
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


def _from_checkpoint(run: RunDirectory, bundle: Bundle) -> "TorchClassifier":
    """From the best weights of the last stage of gradient descent."""
    from holotype.training.finetuning.follow_stages import untrained_classifier

    recipe = resolve_recipe(run.recipe)
    # What a stage left lies with the run that it belongs to.
    whole = run.root_run
    checkpoints, names = whole.checkpoints, [stage.name for stage in recipe.gradient_stages]
    ended = read_stage_result(checkpoints, names[-1])
    if bundle.trained_on_validation and ended is not None:
        # A stage that validation did not prefer was passed over when it was trained again.
        found = (read_stage_result(whole.refit_checkpoints, name) for name in reversed(names))
        ended = next((result for result in found if result is not None), None)
        if ended is None:
            return _from_fitted_head(run, bundle)
    if ended is None:
        raise UsageError(
            f"{str(checkpoints)!r} no longer holds the weights of this run, which gradients "
            f"need. {WITHOUT_TORCH}"
        )
    kind = architecture(recipe.model).kind
    # Of a head that embeds the bundle has the embedding above the backbone's own.
    size = None if recipe.head_spec.embedding else bundle.manifest.embedding_size
    num_classes = len(bundle.classes)
    classifier = untrained_classifier(recipe, size, num_classes)
    try:
        classifier.load_state_dict(ended[1])
    except RuntimeError as error:
        raise UsageError(
            f"the weights of {str(whole.path)!r} do not fit {recipe.model} as it is built today "
            f"({kind}: {str(error).splitlines()[-1].strip()[:160]}). {WITHOUT_TORCH}"
        ) from None
    return classifier


def _from_fitted_head(run: RunDirectory, bundle: Bundle) -> "TorchClassifier":
    """The network as training started from it, and the head that the bundle has.

    That is a linear one, or the cosines of a whitened embedding.
    """
    import onnx
    from onnx import numpy_helper

    from holotype.architectures.torch_classifier import (
        EmbeddingHead,
        TorchClassifier,
        set_linear_head,
    )

    recipe = resolve_recipe(run.recipe)
    graph = onnx.load_model_from_string(bundle.graphs[HEAD]).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    if [node.op_type for node in graph.node] != ["Gemm"] or not {"weight", "bias"} <= set(tensors):
        raise UsageError(
            f"the head of {str(run.path)!r} ({recipe.stages[-1].method}) has no gradient. "
            "Take --method occlusion."
        )
    backbone = PretrainedBackbone(recipe, read_index_file(run.index), Progress()).backbone
    num_classes = len(bundle.classes)
    if recipe.head_spec.embedding is not None:
        projection = read_projection(bundle.graphs[BACKBONE])
        size = projection[0].shape[1]
        classifier = TorchClassifier(backbone, size, num_classes, recipe.head_spec)
        assert isinstance(classifier.head, EmbeddingHead)
        classifier.head.set_weights(*projection, tensors["weight"])
        return classifier
    classifier = TorchClassifier(backbone, bundle.manifest.embedding_size, num_classes)
    set_linear_head(classifier.head, tensors["weight"], tensors["bias"])
    return classifier


def run_of(path: str | os.PathLike[str]) -> RunDirectory | None:
    """The run of a path, which may be its bundle; None for a bundle alone."""
    directory = run_path(path)
    for candidate in (RunDirectory(directory), RunDirectory(directory.absolute().parent)):
        of_itself = candidate.path == directory or candidate.bundle == directory.absolute()
        if of_itself and candidate.recipe.is_file():
            return candidate
    return None


def _runs_within(path: str | os.PathLike[str]) -> Iterator[RunDirectory]:
    """A run and, where it is the mean of folds, theirs."""
    run = run_of(path)
    if run is None:
        return
    yield run
    if run.folds.is_dir():
        for folder in sorted(run.folds.iterdir()):
            yield from _runs_within(folder)


def _bundle_hash(run: RunDirectory) -> str | None:
    """The bundle's identity, without reading its graphs."""
    try:
        return sha256_of(run.bundle / MANIFEST)
    except OSError:
        return None
