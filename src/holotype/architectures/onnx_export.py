"""Export backbones and heads to ONNX; one export gives the shipped backbone and every cut.

The graph has a fixed height and width and a dynamic batch size: with dynamic height and width,
'same' padding is computed at run time and the rate halves.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn

from holotype.architectures.dense_head_onnx import OPSET, export_cosine_head, export_dense_head
from holotype.architectures.torch_classifier import ACTIVATIONS, Backbone, EmbeddingHead
from holotype.bundle.sanitise_graph import strip_metadata

INPUT = "image"


def cut_output_name(cut: int) -> str:
    """The name of the activation at a cut in the graph."""
    return f"cut{cut}"


def export_backbone(backbone: Backbone, height: int, width: int) -> onnx.ModelProto:
    """One graph with every output: `embedding`, `feature_map` where it is 4-D, and `cut1` …."""
    wrapper = _AllOutputs(backbone).eval()
    with torch.no_grad():
        count = len(wrapper(torch.zeros(1, 3, height, width)))
    cuts = [cut_output_name(k) for k in range(1, len(backbone.groups))]
    maps = ["feature_map"] if count == 2 + len(cuts) else []
    # Two images: with one, the exporter treats the batch size as a constant.
    example = torch.zeros(2, 3, height, width)
    batch = {0: torch.export.Dim.DYNAMIC}
    with (
        warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()),
        _without_in_place(backbone),
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            wrapper, (example,), dynamo=True, external_data=False, opset_version=OPSET,
            input_names=[INPUT], output_names=["embedding", *maps, *cuts],
            dynamic_shapes=(batch,), verbose=False,
        )  # fmt: skip
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _without_in_place(network: nn.Module) -> Iterator[None]:
    """No activation writes over its input meanwhile; values stay the same.

    A ReLU6 that does is taken apart into comparisons of symbolic sizes: half of the export's time.
    """
    layers = [layer for layer in network.modules() if getattr(layer, "inplace", False) is True]
    for layer in layers:
        layer.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers:
            layer.inplace = True  # type: ignore[assignment]


class _AllOutputs(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> list[Tensor]:
        activations = []
        for group in self.backbone.groups.values():
            image = group(image)
            activations.append(image)
        cells = self.backbone.map_cells(image)
        maps = [cells] if cells.ndim == 4 else []
        return [self.backbone.pool(image), *maps, *activations[:-1]]


def extract_outputs(model: onnx.ModelProto, outputs: list[str], image: str = INPUT) -> bytes:
    """The part of a graph that computes these outputs, without the exporter's local paths.

    Args:
        image: the name of its input.
    """
    names = [output.name for output in model.graph.output]
    wanted = [name for name in outputs if name in names]
    part = onnx.utils.Extractor(model).extract_model([image], wanted)
    return strip_metadata(part.SerializeToString())


def export_head(head: nn.Module) -> bytes:
    """`embedding` (N, D) -> `logits` (N, C): a linear layer, or several with activations between.

    Args:
        head: from `build_head`; dropout is left out, as in inference. Of one that embeds, the part
            above its embedding: `append_projection` ships the part below.
    """
    if isinstance(head, EmbeddingHead):
        return export_cosine_head(head.directions.detach().numpy(), head.scale)
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    activations = [names[type(layer)] for layer in layers if type(layer) in names]
    return export_dense_head(
        [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear], activations
    )
