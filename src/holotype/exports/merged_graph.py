"""A bundle as one ONNX graph: backbone, head, views, members and temperature.

`image` -> `logits` and `probabilities`. What a bundle says beyond probabilities stays with the
bundle: unknown images and prediction sets.

Shape suffixes: N images, C classes, V views, M members.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.onnx_export import extract_outputs
from holotype.bundle.building.hog_lbp_graph import IR_VERSION
from holotype.bundle.bundle import Bundle
from holotype.bundle.manifest import BACKBONE, HEAD
from holotype.bundle.views import VIEWS, FixedView, magnified_places
from holotype.errors import ExportRefused
from holotype.exports.export_format import require_one_input
from holotype.exports.graph_nodes import GraphNodes
from holotype.exports.preprocessing_graph import preprocessing_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

IMAGE, LOGITS, PROBABILITIES = "image", "logits", "probabilities"


def merged_graph(bundle: Bundle, source_size: tuple[int, int] | None = None) -> "ModelProto":
    """The graph `image` -> `logits` (N, C), `probabilities` (N, C).

    Args:
        source_size: (height, width) of the images: preprocessing is part of the graph, and `image`
            is uint8 (N, height, width, 3), RGB; without it, `image` is the float32 model input
            (N, 3, H, W).

    Raises:
        ExportRefused: members take different inputs, or preprocessing looks for the content.
    """
    from onnx import TensorProto, checker, helper

    require_one_input(bundle)
    graph = _MergedNodes()
    preprocessing = bundle.preprocessing
    height, width = preprocessing.height, preprocessing.width
    x = IMAGE
    shape: list[str | int | None] = ["batch", 3, height, width]
    kind = TensorProto.FLOAT
    if source_size is not None:
        kind, shape = TensorProto.UINT8, ["batch", *source_size, 3]
        x = preprocessing_nodes(graph, IMAGE, preprocessing, source_size, bundle.name)
    logits = graph.add_bundle(bundle, x)
    graph.add("Identity", [logits], LOGITS)
    scaled = graph.scaled(LOGITS, bundle.temperature)
    graph.add("Softmax", [scaled], PROBABILITIES, axis=1)
    sizes: list[str | int | None] = ["batch", len(bundle.classes)]
    proto = helper.make_graph(
        graph.nodes, "holotype",
        [helper.make_tensor_value_info(IMAGE, kind, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
            for name in (LOGITS, PROBABILITIES)
        ],
        graph.tensors,
    )  # fmt: skip
    model = helper.make_model(
        proto, ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, v) for domain, v in graph.opsets.items()],
    )  # fmt: skip
    checker.check_model(model)
    return model


class _MergedNodes(GraphNodes):
    """The nodes of bundles, one after the other."""

    def scaled(self, logits: str, temperature: float) -> str:
        """Logits divided by the temperature."""
        return self.add("Div", [logits, self.constant(temperature)])

    def add_bundle(self, bundle: Bundle, x: str) -> str:
        """The logits (N, C) that the temperature of the bundle divides."""
        if not bundle.members:
            return self._add_base_model(bundle, x)
        answers_NC = [
            self.add("LogSoftmax", [self.scaled(self.add_bundle(one, x), one.temperature)], axis=1)
            for one in bundle.members
        ]
        assert bundle.ensemble_weights is not None
        weights_CM = bundle.ensemble_weights.weights_for(len(bundle.classes))
        return self._log_mean(self._stacked(answers_NC), np.asarray(weights_CM).T)

    def _add_base_model(self, base: Bundle, x: str) -> str:
        views = VIEWS[base.views]
        if len(views) > 1:
            x = self.add("Concat", [self._view(x, view, base) for view in views], axis=0)
        embedding = self._add_graph(base.graphs[BACKBONE], x, "embedding")
        logits = self._add_graph(base.graphs[HEAD], embedding, "logits")
        if len(views) == 1:
            return logits
        V, C = len(views), len(base.classes)
        answers_VNC = self.add(
            "Reshape",
            [self.add("LogSoftmax", [logits], axis=1), self.constant([V, -1, C], np.int64)],
        )
        return self._log_mean(answers_VNC, np.full((V, C), 1 / V))

    def _stacked(self, answers_NC: list[str]) -> str:
        axis = self.constant([0], np.int64)
        return self.add(
            "Concat", [self.add("Unsqueeze", [one, axis]) for one in answers_NC], axis=0
        )

    def _log_mean(self, answers_MNC: str, weights_MC: NDArray[np.float64]) -> str:
        """log of the weighted mean of probabilities, from their logarithms."""
        smallest = math.log(np.finfo(np.float32).tiny)
        with np.errstate(divide="ignore"):
            log_weights_MC = np.maximum(np.log(weights_MC), smallest)
        weighted = self.add("Add", [answers_MNC, self.constant(log_weights_MC[:, None, :])])
        axis = self.constant([0], np.int64)
        largest_1NC = self.add("ReduceMax", [weighted, axis], keepdims=1)
        powers = self.add("Exp", [self.add("Sub", [weighted, largest_1NC])])
        total = self.add("Log", [self.add("ReduceSum", [powers, axis], keepdims=0)])
        largest_NC = self.add("Squeeze", [largest_1NC, axis])
        return self.add("LogSoftmax", [self.add("Add", [total, largest_NC])], axis=1)

    def _add_graph(self, graph: bytes, x: str, output: str) -> str:
        """The nodes of another graph with one input, under names of their own."""
        import onnx

        model = onnx.load_model_from_string(graph)
        if len(model.graph.output) > 1:
            model = onnx.load_model_from_string(
                extract_outputs(model, [output], model.graph.input[0].name)
            )
        self._count += 1
        prefix = f"part{self._count}/"
        renamed = onnx.compose.add_prefix(model, prefix)
        for opset in model.opset_import:
            if self.opsets.setdefault(opset.domain, opset.version) != opset.version:
                raise ExportRefused(
                    f"the graphs of this bundle use operator sets {opset.version} and "
                    f"{self.opsets[opset.domain]} of {opset.domain or 'ONNX'}; train it again."
                )
        self.add("Identity", [x], renamed.graph.input[0].name)
        self.nodes.extend(renamed.graph.node)
        self.tensors.extend(renamed.graph.initializer)
        return prefix + output

    def _view(self, x: str, view: FixedView, base: Bundle) -> str:
        """What `FixedView.apply` does, on (N, 3, H, W)."""
        height, width = base.preprocessing.height, base.preprocessing.width
        if view.mirrored:
            x = self._reversed(x, width)
        if view.magnified != 1:
            x = self._magnified(x, width, view.magnified, axis=3)
            x = self._magnified(x, height, view.magnified, axis=2)
        turns = view.quarter_turns % 4
        if turns in (1, 2):
            x = self._reversed(x, width)
        if turns == 2:
            x = self.add("Gather", [x, self.constant(range(height)[::-1], np.int64)], axis=2)
        if turns in (1, 3):
            x = self.add("Transpose", [x], perm=[0, 1, 3, 2])
        return self._reversed(x, height) if turns == 3 else x

    def _reversed(self, x: str, width: int) -> str:
        return self.add("Gather", [x, self.constant(range(width)[::-1], np.int64)], axis=3)

    def _magnified(self, x: str, size: int, factor: float, axis: int) -> str:
        first_S, second_S, share_S = magnified_places(size, factor)
        shape = (1, 1, size, 1) if axis == 2 else (1, 1, 1, size)
        first = self.add("Gather", [x, self.constant(first_S, np.int64)], axis=axis)
        second = self.add("Gather", [x, self.constant(second_S, np.int64)], axis=axis)
        share = share_S.reshape(shape)
        one = self.add("Mul", [first, self.constant(1 - share)])
        return self.add("Add", [one, self.add("Mul", [second, self.constant(share)])])
