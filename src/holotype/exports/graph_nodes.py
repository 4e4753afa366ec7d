"""Nodes and tensors of an ONNX graph in the making."""

from typing import TYPE_CHECKING, Any

import numpy as np

from holotype.bundle.building.hog_lbp_graph import OPSET

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto


class GraphNodes:
    """What was added so far; every value has a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.opsets: dict[str, int] = {"": OPSET}
        self._count = 0

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        from onnx import helper

        self._count += 1
        output = output or f"value{self._count}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """A tensor of the graph."""
        from onnx import numpy_helper

        self._count += 1
        name = f"constant{self._count}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name
