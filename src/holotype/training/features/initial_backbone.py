"""The network that training starts from: its weights and its ONNX graphs, which are cached.

A pretrained network is the same for every data set, so its graphs are cached under the hash of its
weights. Once they are, a linear head is trained without torch. Descriptors are graphs to begin
with.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.catalog import architecture, code_identity
from holotype.architectures.dense_head_onnx import OPSET
from holotype.architectures.pretrained_weights import WeightsSource, find_weights
from holotype.bundle.building.hog_lbp_graph import descriptor_graph
from holotype.bundle.building.parity import check_parity
from holotype.bundle.onnx_runtime import open_session
from holotype.cache import hash_strings, read_cached, write_cached
from holotype.dataset.index import Index, Part
from holotype.files import sha256_of
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.data.class_weights import inverse_frequency
from holotype.training.features.device import TorchSession
from holotype.training.features.frozen_features import FeatureExtractor, onnx_feature_extractor

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import Backbone

EMBEDDING, FEATURE_MAP = "embedding", "feature_map"
PARITY_IMAGES = 8  # on which a graph is compared with torch
STATISTICS_IMAGES = 64  # for the batch norms of a network with random weights


class PretrainedBackbone:
    """A network before training; what needs torch is computed on first use.

    Args:
        recipe: names the network, its weights and its image size.
        index: images for the parity check, and for the batch statistics of random networks.
        copies: sets of paths that show one image, which share a fold in cross-validation.
    """

    def __init__(
        self,
        recipe: Recipe,
        index: Index,
        progress: Progress,
        copies: Sequence[frozenset[str]] = (),
    ) -> None:
        self.recipe = recipe
        self.index = index
        self.progress = progress
        self.copies = copies
        self.weights: WeightsSource = find_weights(
            recipe.model, recipe.weights, recipe.model_options
        )
        self.is_descriptor = architecture(recipe.model).kind == "classical"

    @cached_property
    def weights_sha256(self) -> str:
        """Of the file of the weights, or of the network's tensors where there is no file."""
        if self.weights.file is not None:
            return sha256_of(self.weights.file)
        from holotype.architectures.torch_classifier import hash_weights

        return hash_weights(self.backbone)

    @cached_property
    def backbone(self) -> "Backbone":
        """The network in torch, in evaluation mode."""
        import torch
        from torch.optim.swa_utils import update_bn

        from holotype.architectures.build_backbone import build_backbone

        recipe = self.recipe
        backbone = build_backbone(
            recipe.model, self.weights, recipe.image_size,
            seed=recipe.seed, options=recipe.model_options,
        )  # fmt: skip
        if recipe.pruning is not None:
            from holotype.architectures.pruning import prune_backbone

            self.progress.log(
                prune_backbone(backbone, recipe.image_size, recipe.pruning, recipe.model)
            )
        if self.weights.kind == "none":
            images = torch.from_numpy(sample_inputs(self.index, recipe, STATISTICS_IMAGES))
            half = (len(images) + 1) // 2
            update_bn([part for part in images.split(half) if len(part) > 1], backbone)
        return backbone

    @property
    def embedding_size(self) -> int:
        """D; needs no export."""
        from holotype.architectures.profiling import embedding_size

        return embedding_size(self.backbone, self.recipe.image_size)

    def graph(self, output: str) -> bytes:
        """The graph with the output `embedding` (and the feature map), or one cut.

        Its parity with torch on real images is checked before it is cached.
        """
        if self.is_descriptor:
            size = self.recipe.image_size
            return descriptor_graph(self.recipe.model, size, size)
        return read_cached(self._graph_name(output)) or self._export()[output]

    def feature_extractor(self, output: str, device: str) -> FeatureExtractor:
        """The backbone below a cut, or all of it for `embedding`: ONNX on a CPU, torch on a GPU."""
        part = onnx_feature_extractor(self.graph(output), output)
        if device == "cpu" or self.is_descriptor:
            return part
        return _on_device(part, lambda: self.backbone, device)

    @cached_property
    def _graphs_key(self) -> str:
        made_by = [f"{name} {version(name)}" for name in ("torch", "timm", "onnxscript")]
        recipe = self.recipe
        code = code_identity(recipe.model, recipe.model_options)
        return hash_strings(
            recipe.model,
            self.weights_sha256,
            str(recipe.image_size),
            str(recipe.pruning),
            str(OPSET),
            code,
            *made_by,
        )

    def _graph_name(self, output: str) -> str:
        return f"graphs/{self._graphs_key}/{output}.onnx"

    def _export(self) -> dict[str, bytes]:
        images = sample_inputs(self.index, self.recipe, PARITY_IMAGES)
        with self.progress.busy(f"exporting {self.recipe.model} to ONNX (once for these weights)"):
            graphs = export_graphs(self.backbone, self.recipe, images)
        for output, graph in graphs.items():
            write_cached(self._graph_name(output), graph)
        return graphs


def feature_extractor_of(
    backbone: "Backbone", recipe: Recipe, index: Index, output: str, device: str
) -> FeatureExtractor:
    """The same for a network that a stage has trained; its graphs are not cached."""
    images = sample_inputs(index, recipe, PARITY_IMAGES)
    part = onnx_feature_extractor(export_graphs(backbone, recipe, images)[output], output)
    return part if device == "cpu" else _on_device(part, lambda: backbone, device)


def _on_device(
    part: FeatureExtractor, backbone: "Callable[[], Backbone]", device: str
) -> FeatureExtractor:
    """The same part in torch, which is faster on a GPU."""
    identity = hash_strings(part.identity, "torch", device)
    session = _TorchPart(backbone, part.output, device)
    return FeatureExtractor(identity, part.output, session, device)


@dataclass(frozen=True, eq=False)
class _TorchPart:
    """Opens a session of a network that is built when it is first needed."""

    backbone: "Callable[[], Backbone]"
    output: str
    device: str

    def __call__(self) -> Any:
        return torch_session(self.backbone(), self.output, self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process is handed the network itself."""
        return partial, (torch_session, self.backbone(), self.output, self.device)


def torch_session(backbone: "Backbone", output: str, device: str) -> Any:
    """A copy of the network below a cut, with the methods of an ONNX Runtime session."""
    from holotype.architectures.torch_classifier import BackboneBelowCut

    return TorchSession(
        BackboneBelowCut(copy.deepcopy(backbone), _cut_of_output(output)), output, device
    )


def export_graphs(
    backbone: "Backbone", recipe: Recipe, images_NCHW: NDArray[np.float32], *, cuts: bool = True
) -> dict[str, bytes]:
    """The shipped graph under `embedding`, and one for each cut.

    Args:
        images_NCHW: model inputs of real images, on which every graph is compared with torch.
        cuts: whether to export the graphs of the cuts too.

    Raises:
        ParityFailed: a graph disagrees with torch.
    """
    import torch

    from holotype.architectures.onnx_export import cut_output_name, export_backbone, extract_outputs

    model = export_backbone(backbone, recipe.image_size, recipe.image_size)
    graphs = {EMBEDDING: extract_outputs(model, [EMBEDDING, FEATURE_MAP])}
    with torch.no_grad():
        x = torch.from_numpy(images_NCHW)
        expected = {EMBEDDING: backbone(x)[0].numpy()}
        groups = list(backbone.groups.values())[:-1] if cuts else []
        for cut, group in enumerate(groups, start=1):
            x = group(x)
            graphs[cut_output_name(cut)] = extract_outputs(model, [cut_output_name(cut)])
            expected[cut_output_name(cut)] = x.numpy()
    for output, graph in graphs.items():
        session = open_session(graph, threads=2)
        actual = session.run([output], {session.get_inputs()[0].name: images_NCHW})[0]
        check_parity(
            expected[output].reshape(len(images_NCHW), -1),
            actual.reshape(len(images_NCHW), -1),
            what=f"{recipe.model}, {output}: torch and ONNX",
            exact=partial(float64_outputs, backbone, output, images_NCHW),
        )
    return graphs


def float64_outputs(
    backbone: "Backbone", output: str, images_NCHW: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The output of torch in float64, (N, numbers of an image)."""
    import torch

    from holotype.architectures.torch_classifier import BackboneBelowCut

    below = BackboneBelowCut(copy.deepcopy(backbone).double(), _cut_of_output(output))
    with torch.no_grad():
        values = below(torch.from_numpy(images_NCHW).double())
    return np.asarray(values.numpy().reshape(len(images_NCHW), -1))


def _cut_of_output(output: str) -> int | None:
    return None if output == EMBEDDING else int(output.removeprefix("cut"))


def sample_inputs(index: Index, recipe: Recipe, count: int) -> NDArray[np.float32]:
    """Model inputs (N, 3, H, W) of up to `count` training images, from all classes in turn."""
    table = index.part("train").table
    rank = table.groupby("label").cumcount()
    chosen = table.assign(rank=rank).sort_values(["rank", "path"]).head(count)
    preprocessing = recipe.preprocessing
    return np.stack([preprocessing.load(index.file(path)) for path in chosen["path"]])


def targets_and_weights(
    pretrained: PretrainedBackbone, part: Part
) -> tuple[Index, NDArray[np.int64], NDArray[np.float32]]:
    """A part of the index, its class numbers, and the weight of each image in the loss."""
    index = pretrained.index.part(part)
    targets_N = index.targets_N
    weights_N = np.array(index.table["weight"], np.float64)
    if pretrained.recipe.class_weights == "balanced" and part == "train":
        weight_C = inverse_frequency(targets_N, weights_N, len(index.classes))
        weights_N = weights_N * weight_C[targets_N]
    return index, targets_N, weights_N.astype(np.float32)
