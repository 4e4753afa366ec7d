"""Preprocessing as ONNX operators, for images of one size.

Pillow resizes first the columns and then the rows, each as a weighted sum, and rounds to whole
levels after both. For images of one size these sums are two matrices, which Pillow itself gives
when it resizes a unit matrix; so every filter and every fit is exact, up to the rounding of halves.

Shape suffixes: N images, h and w their size, H and W that of the model input.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import ExportRefused
from holotype.exports.graph_nodes import GraphNodes
from holotype.imaging.preprocessing import Preprocessing
from holotype.imaging.significant_bits import FULL_BITS


def preprocessing_nodes(
    graph: GraphNodes,
    image: str,
    preprocessing: Preprocessing,
    size: tuple[int, int],
    name: str,
) -> str:
    """Nodes from uint8 (N, h, w, 3) to the model input (N, 3, H, W); returns its name.

    Args:
        size: (h, w).
        name: of the bundle, in errors.

    Raises:
        ExportRefused: preprocessing crops to the content, which no fixed operators find; or reads
            fewer than 16 bits, or truncated files, which plain Pillow does not.
    """
    from onnx import TensorProto

    if preprocessing.content != "whole":
        raise ExportRefused(
            f"{name}: its preprocessing crops each image to its content, which differs from image "
            "to image and is no fixed operator; export without --source-size."
        )
    if preprocessing.bits != FULL_BITS:
        raise ExportRefused(
            f"{name}: its images have {preprocessing.bits} significant bits of 16, and the graph "
            "takes 8; export without --source-size."
        )
    if preprocessing.tolerate_truncated:
        raise ExportRefused(
            f"{name}: it reads truncated files (--tolerate-truncated), which the code of such an "
            "export does not; export without --source-size."
        )
    plan = preprocessing.geometry((size[1], size[0]))
    x = graph.add("Cast", [image], to=int(TensorProto.FLOAT))
    x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    columns_wW = resize_matrix(size[1], plan.size[0], preprocessing, plan.box[0::2])
    rows_hH = resize_matrix(size[0], plan.size[1], preprocessing, plan.box[1::2])
    if columns_wW is not None:
        x = _to_levels(graph, graph.add("MatMul", [x, graph.constant(columns_wW)]))
    if rows_hH is not None:
        x = _to_levels(graph, graph.add("MatMul", [graph.constant(rows_hH.T), x]))
    left, top = plan.offset
    right = preprocessing.width - left - plan.size[0]
    bottom = preprocessing.height - top - plan.size[1]
    scale_C = 1 / (255 * np.array(preprocessing.std))
    shift_C = np.array(preprocessing.mean) / np.array(preprocessing.std)
    if any((left, top, right, bottom)):
        # Padded with the background's own numbers: minus it, with zeros, and plus it.
        ground = graph.constant(np.reshape(preprocessing.background, (1, 3, 1, 1)))
        pads = graph.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        x = graph.add("Pad", [graph.add("Sub", [x, ground]), pads], mode="constant")
        x = graph.add("Add", [x, ground])
    x = graph.add("Mul", [x, graph.constant(scale_C.reshape(1, 3, 1, 1))])
    return graph.add("Sub", [x, graph.constant(shift_C.reshape(1, 3, 1, 1))])


def resize_matrix(
    length: int, new_length: int, preprocessing: Preprocessing, box: tuple[float, ...]
) -> NDArray[np.float32] | None:
    """What Pillow multiplies the levels of a line by, (length, new_length); None: nothing changes.

    Args:
        box: start and end of the part of the line that is resized.
    """
    if new_length == length and tuple(box) == (0, length):
        return None
    unit = PillowImage.fromarray(np.eye(length, dtype=np.float32))
    resized = unit.resize((new_length, length), preprocessing.filter, (box[0], 0, box[1], length))
    return np.asarray(resized, np.float32)


def _to_levels(graph: GraphNodes, x: str) -> str:
    """Rounded, halves upwards, and kept within 0 and 255, as Pillow stores levels."""
    rounded = graph.add("Floor", [graph.add("Add", [x, graph.constant(0.5)])])
    return graph.add("Clip", [rounded, graph.constant(0.0), graph.constant(255.0)])
