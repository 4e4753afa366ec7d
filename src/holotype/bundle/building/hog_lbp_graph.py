"""Descriptors of an image as an ONNX graph: HOG, LBP and colour histograms, alone or together.

One definition serves training and inference: the graph is the backbone of a bundle like any other.
It is built here node by node, so neither torch nor an exporter is needed. An image is first
converted to whole grey levels, as Pillow's `L`; gradients are then whole numbers, and no comparison
below depends on how a processor rounds.

- `hog`: histograms of oriented gradients, Dalal & Triggs 2005, "Histograms of Oriented Gradients
  for Human Detection": 9 unsigned orientations, cells of 8 px, blocks of 2 × 2 cells, L2-Hys. As
  in scikit-image, a gradient votes for one orientation, with its length.
- `lbp`: rotation-invariant uniform local binary patterns, Ojala, Pietikäinen & Mäenpää 2002,
  "Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local Binary
  Patterns": 8 neighbours at 1 px and 16 at 2 px, in 4 × 4 cells. A neighbour as bright as the
  centre counts as brighter, to a thousandth of a level; outside of the image all is black.
- `colour`: joint histograms of red, green and blue, 4 levels each, in 2 × 2 cells; Swain & Ballard
  1991, "Color Indexing".

Shape suffixes: N images, H height, W width, D embedding, P neighbours, K kernel.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

DESCRIPTORS = ("hog", "lbp", "colour")
MEAN = STD = (0.5, 0.5, 0.5)  # of the input, so that 0 is the grey in the middle
CELL = 8
SMALLEST = 2 * CELL  # one block
ORIENTATIONS, BLOCK, CLIP, EPSILON = 9, 2, 0.2, 1e-5
CIRCLES = ((8, 1), (16, 2))  # neighbours and radius in px
LBP_GRID, COLOUR_GRID, COLOUR_LEVELS = 4, 2, 4
TIE = 1e-3  # of a grey level
GREY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # Pillow's `L`: ITU-R BT.601 in 16 bits
OPSET, IR_VERSION = 20, 10


def parse_descriptors(model: str) -> tuple[str, ...]:
    """The descriptors that a name such as `lbp+hog` joins, in the order of `DESCRIPTORS`.

    Empty where the name is something else, or says one descriptor twice.
    """
    words = model.split("+")
    if len(set(words)) < len(words) or not set(words) <= set(DESCRIPTORS):
        return ()
    return tuple(part for part in DESCRIPTORS if part in words)


def canonical_name(model: str) -> str:
    """`lbp+hog` -> `hog+lbp`."""
    return "+".join(parse_descriptors(model))


def descriptor_size(model: str, height: int, width: int) -> int:
    """How many numbers describe an image of this size."""
    blocks = (height // CELL - 1) * (width // CELL - 1)
    sizes = {
        "hog": blocks * BLOCK**2 * ORIENTATIONS,
        "lbp": LBP_GRID**2 * sum(neighbours + 2 for neighbours, _ in CIRCLES),
        "colour": COLOUR_GRID**2 * COLOUR_LEVELS**3,
    }
    return sum(sizes[part] for part in parse_descriptors(model))


def multiply_adds(model: str, height: int, width: int) -> int:
    """Of all products of one image; comparisons and roots are not counted."""
    pixels, rows, columns = height * width, height // CELL, width // CELL

    def means(channels: int, down: int, across: int) -> int:
        return channels * (pixels * across + down * height * across)

    blocks = (rows - 1) * (columns - 1) * BLOCK**4 * ORIENTATIONS**2
    circles = sum(pixels * p * ((2 * r + 1) ** 2 + p) for p, r in CIRCLES)
    counts = {
        "hog": pixels * (18 + 2 * ORIENTATIONS) + means(ORIENTATIONS, rows, columns) + blocks,
        "lbp": circles + sum(means(p + 2, LBP_GRID, LBP_GRID) for p, _ in CIRCLES),
        "colour": pixels * 3 + means(COLOUR_LEVELS**3, COLOUR_GRID, COLOUR_GRID),
    }
    parts = parse_descriptors(model)
    grey = 0 if parts == ("colour",) else 3 * pixels
    return grey + sum(counts[part] for part in parts)


def descriptor_graph(model: str, height: int, width: int) -> bytes:
    """The graph from `image` (N, 3, H, W), normalised by MEAN and STD, to `embedding` (N, D).

    The same name and size always give the same bytes.

    Raises:
        ValueError: the name is no set of descriptors, or a side is below 16 px or no multiple
            of 8; the catalogue refuses such a size in a recipe.
    """
    from onnx import TensorProto, checker, helper

    parts = parse_descriptors(model)
    if not parts:
        raise ValueError(f"{model!r} does not join any of {', '.join(DESCRIPTORS)} by '+'")
    if min(height, width) < SMALLEST or height % CELL or width % CELL:
        raise ValueError(f"{height} x {width} is not made of cells of {CELL} px, at least 2 x 2")
    builder = _GraphBuilder()
    makers = {"hog": _hog, "lbp": _lbp, "colour": _colour}
    _levels(builder)
    if parts != ("colour",):
        _grey(builder)
    flat = [output for part in parts for output in makers[part](builder, height, width)]
    builder.node("Concat", flat, "embedding", axis=1)
    size = descriptor_size(model, height, width)
    graph = helper.make_graph(
        builder.nodes,
        canonical_name(model),
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, height, width])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", size])],
        builder.constants,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))


class _GraphBuilder:
    """Nodes and constants of a graph; every node has one output, named by the caller."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: object, dtype: type = np.float32) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def convolution(
        self, source: str, output: str, kernel_DCKK: NDArray[np.float64], pad: int = 0
    ) -> str:
        kernel = self.constant(f"{output}_kernel", kernel_DCKK)
        return self.node("Conv", [source, kernel], output, pads=[pad] * 4)

    def mean_over_cells(
        self, source: str, output: str, size: tuple[int, int], cells: tuple[int, int]
    ) -> str:
        """(N, channels, *size) -> (N, channels, *cells), as two products.

        ONNX Runtime takes several times as long for an AveragePool of large cells.
        """
        down, across = (_means(side, count) for side, count in zip(size, cells, strict=True))
        rows = self.node("MatMul", [source, self.constant(f"{output}_across", across.T)],
                         f"{output}_rows")  # fmt: skip
        return self.node("MatMul", [self.constant(f"{output}_down", down), rows], output)

    def cell_histograms(
        self, codes: str, name: str, count: int, size: tuple[int, int], grid: int
    ) -> str:
        """For each cell the share of its pixels that has code 0, 1, … count - 1; flat."""
        numbers = self.constant(f"{name}_codes", np.arange(count).reshape(1, -1, 1, 1))
        is_code = self.node("Equal", [codes, numbers], f"{name}_is_code")
        floats = self.node("Cast", [is_code], f"{name}_is_code_float", to=1)
        histograms = self.mean_over_cells(floats, f"{name}_histograms", size, (grid, grid))
        return self.flat_by_cell(histograms, name)

    def flat_by_cell(self, source: str, name: str) -> str:
        """(N, channels, h, w) -> (N, h · w · channels), all of a cell side by side."""
        last = self.node("Transpose", [source], f"{name}_by_cell", perm=[0, 2, 3, 1])
        return self.node("Flatten", [last], name, axis=1)


def _means(side: int, count: int) -> NDArray[np.float64]:
    """(count, side): each row averages the pixels of one cell."""
    return np.repeat(np.eye(count), side // count, axis=1) * (count / side)


def _levels(builder: _GraphBuilder) -> None:
    """`levels` (N, 3, H, W): whole numbers from 0 to 255, as they stood in the image."""
    builder.constant("scale", np.reshape([255 * one for one in STD], (3, 1, 1)))
    builder.constant("shift", np.reshape([255 * one for one in MEAN], (3, 1, 1)))
    builder.node("Mul", ["image", "scale"], "levels_around_0")
    builder.node("Add", ["levels_around_0", "shift"], "levels_unrounded")
    builder.node("Round", ["levels_unrounded"], "levels")


def _grey(builder: _GraphBuilder) -> None:
    """`grey` (N, 1, H, W): whole numbers; 24 bits hold all that comes before the rounding."""
    builder.constant("grey_kernel", np.reshape(GREY, (1, 3, 1, 1)))
    builder.node("Conv", ["levels", "grey_kernel", builder.constant("half", [0.5])], "grey_above")
    builder.node("Floor", ["grey_above"], "grey")


def _hog(builder: _GraphBuilder, height: int, width: int) -> list[str]:
    """Gradients vote for orientations in cells; overlapping blocks of cells are normalised."""
    _gradients(builder, height, width)
    builder.node("ReduceL2", ["gradient", builder.constant("channels", [1], np.int64)], "length")
    # `beyond` k: the angle (modulo 180°) is k · 20° or more. A gradient that points down, or
    # level to the left, is turned round by a factor that has the sign of its angle.
    angles = np.deg2rad(180 / ORIENTATIONS * np.arange(1, ORIENTATIONS))
    edges = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    builder.convolution("gradient", "across", edges[:, :, None, None])
    builder.convolution("gradient", "turn", np.array([1.0, 1024.0]).reshape(1, 2, 1, 1))
    builder.node("Mul", ["across", "turn"], "turned")
    zero = builder.constant("zero", 0.0)
    builder.node("GreaterOrEqual", ["turned", zero], "is_beyond")
    builder.node("Where", ["is_beyond", "length", zero], "beyond")
    builder.node("Concat", ["length", "beyond"], "votes", axis=1)
    cells = (height // CELL, width // CELL)
    builder.mean_over_cells("votes", "cells", (height, width), cells)
    _blocks(builder)
    return [builder.flat_by_cell("blocks", "hog")]


def _gradients(builder: _GraphBuilder, height: int, width: int) -> None:
    """`gradient` (N, 2, H, W), along x and y; none across the border of the image."""
    kernel = np.zeros((2, 1, 3, 3))
    kernel[0, 0, 1] = kernel[1, 0, :, 1] = [-1, 0, 1]
    inside = np.ones((1, 2, height, width))
    inside[0, 0, :, [0, -1]] = inside[0, 1, [0, -1]] = 0
    builder.convolution("grey", "differences", kernel, pad=1)
    builder.node("Mul", ["differences", builder.constant("inside", inside)], "gradient")


def _blocks(builder: _GraphBuilder) -> None:
    """`blocks` (N, 36, h - 1, w - 1) by L2-Hys: normalised, clipped, normalised again."""
    kernel = np.zeros((BLOCK, BLOCK, ORIENTATIONS, ORIENTATIONS, BLOCK, BLOCK))
    for row in range(BLOCK):
        for column in range(BLOCK):
            for k in range(ORIENTATIONS):  # beyond k, but not beyond k + 1
                kernel[row, column, k, k, row, column] = 1 / 255
                if k + 1 < ORIENTATIONS:
                    kernel[row, column, k, k + 1, row, column] = -1 / 255
    builder.convolution("cells", "unscaled", kernel.reshape(-1, ORIENTATIONS, BLOCK, BLOCK))
    builder.constant("epsilon", EPSILON**2)
    builder.node("Min", [_normalised(builder, "unscaled"), builder.constant("clip", CLIP)], "hys")
    builder.node("Identity", [_normalised(builder, "hys")], "blocks")


def _normalised(builder: _GraphBuilder, source: str) -> str:
    squares = builder.node("ReduceSumSquare", [source, "channels"], f"{source}_squares")
    padded = builder.node("Add", [squares, "epsilon"], f"{source}_padded")
    length = builder.node("Sqrt", [padded], f"{source}_length")
    return builder.node("Div", [source, length], f"{source}_normalised")


def _lbp(builder: _GraphBuilder, height: int, width: int) -> list[str]:
    """How often each pattern occurs in each cell, circle by circle."""
    builder.constant("tie", -TIE)
    builder.constant("one_rise", 1.0)
    builder.constant("circle", [1], np.int64)
    flat = []
    for neighbours, radius in CIRCLES:
        name = f"lbp{neighbours}"
        kernel = _circle(neighbours, radius)
        builder.convolution("grey", f"{name}_above", kernel, pad=radius)
        builder.node("GreaterOrEqual", [f"{name}_above", "tie"], f"{name}_is_bright")
        bright = builder.node("Cast", [f"{name}_is_bright"], f"{name}_bright", to=1)
        # Uniform: going round, it turns from dark to bright once at most.
        identity = np.eye(neighbours)
        turning = identity - np.roll(identity, 1, axis=0)
        builder.convolution(bright, f"{name}_changes", turning[:, :, None, None])
        builder.node("Relu", [f"{name}_changes"], f"{name}_rising")
        builder.node("ReduceSum", [f"{name}_rising", "circle"], f"{name}_rises")
        builder.node("LessOrEqual", [f"{name}_rises", "one_rise"], f"{name}_is_uniform")
        builder.node("ReduceSum", [bright, "circle"], f"{name}_count")
        other = builder.constant(f"{name}_other", float(neighbours + 1))
        inputs = [f"{name}_is_uniform", f"{name}_count", other]
        code = builder.node("Where", inputs, f"{name}_code")
        flat.append(builder.cell_histograms(code, name, neighbours + 2, (height, width), LBP_GRID))
    return flat


def _circle(neighbours: int, radius: int) -> NDArray[np.float64]:
    """Kernels (P, 1, K, K) of each neighbour on a circle, interpolated, minus the centre."""
    size = 2 * radius + 1
    kernel_PKK = np.zeros((neighbours, size, size))
    for p in range(neighbours):
        angle = 2 * math.pi * p / neighbours
        # Rounded so that a neighbour on the grid is one pixel and nothing of the next.
        row = round(radius - radius * math.sin(angle), 9)
        column = round(radius + radius * math.cos(angle), 9)
        top, left = min(int(row), size - 2), min(int(column), size - 2)
        down, right = row - top, column - left
        corner = np.outer([1 - down, down], [1 - right, right])
        kernel_PKK[p, top : top + 2, left : left + 2] = corner
        kernel_PKK[p, radius, radius] -= 1
    return kernel_PKK[:, None]


def _colour(builder: _GraphBuilder, height: int, width: int) -> list[str]:
    """How often each of 64 colours occurs in each cell."""
    builder.node("Mul", ["levels", builder.constant("step", COLOUR_LEVELS / 256)], "steps")
    builder.node("Floor", ["steps"], "coarse")
    places = np.array([COLOUR_LEVELS**2, COLOUR_LEVELS, 1.0]).reshape(1, 3, 1, 1)
    code = builder.convolution("coarse", "colour_code", places)
    return [builder.cell_histograms(code, "colour", COLOUR_LEVELS**3, (height, width), COLOUR_GRID)]
