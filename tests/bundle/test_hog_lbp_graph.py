"""Descriptors as graphs, with scikit-image and NumPy as oracles, on real photographs."""

import hashlib

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage import data
from skimage.feature import hog, local_binary_pattern

from holotype.bundle.building.hog_lbp_graph import (
    CIRCLES,
    MEAN,
    STD,
    canonical_name,
    descriptor_graph,
    descriptor_size,
    multiply_adds,
    parse_descriptors,
)
from holotype.bundle.onnx_runtime import open_session
from holotype.imaging.preprocessing import Preprocessing

PHOTOGRAPHS = {
    "astronaut": data.astronaut(),
    "cat": data.chelsea(),
    "coffee": data.coffee(),
    "camera": data.camera(),  # grey
    "coins": data.coins(),
}


def _framed(name: str, width: int, height: int) -> Image.Image:
    return Image.fromarray(PHOTOGRAPHS[name]).resize((width, height), Image.Resampling.BICUBIC)


def _input(framed: Image.Image) -> NDArray[np.float32]:
    preprocessing = Preprocessing(framed.height, framed.width, "squash", "bicubic", MEAN, STD)
    return preprocessing.tensor(framed)[None]


def _embedding(model: str, framed: Image.Image) -> NDArray[np.float32]:
    session = open_session(descriptor_graph(model, framed.height, framed.width))
    return np.asarray(session.run(["embedding"], {"image": _input(framed)})[0][0])


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_hog_is_that_of_scikit_image(name: str, size: tuple[int, int]) -> None:
    framed = _framed(name, *size)
    grey_HW = np.asarray(framed.convert("L"), np.float64) / 255
    expected = hog(grey_HW, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    assert np.abs(_embedding("hog", framed) - expected).max() < 1e-4


def _near_ties(grey_HW: NDArray[np.float64], neighbours: int, radius: int) -> NDArray[np.bool_]:
    """Where a neighbour is as bright as the centre, and rounding alone decides its bit."""
    rows, columns = np.mgrid[: grey_HW.shape[0], : grey_HW.shape[1]].astype(float)
    near = np.zeros(grey_HW.shape, bool)
    for p in range(neighbours):
        angle = 2 * np.pi * p / neighbours
        down, right = -radius * np.sin(angle), radius * np.cos(angle)
        if np.allclose([down, right], np.round([down, right])):
            continue  # a pixel of its own: whole levels are compared exactly
        at = [rows + down, columns + right]
        above = map_coordinates(grey_HW, at, order=1, mode="constant", cval=0.0) - grey_HW
        near |= np.abs(above) < 3e-3
    return near


def _by_cell(values_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    """(16, pixels of a cell), the cells of a 4 × 4 grid row by row."""
    h, w = values_HW.shape[0] // 4, values_HW.shape[1] // 4
    return values_HW.reshape(4, h, 4, w).transpose(0, 2, 1, 3).reshape(16, h * w)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_lbp_is_that_of_scikit_image_but_where_rounding_decides(name: str) -> None:
    framed = _framed(name, 64, 64)
    grey = framed.convert("L")
    actual = _embedding("lbp", framed)
    checked = 0
    for neighbours, radius in CIRCLES:
        codes = local_binary_pattern(np.asarray(grey), neighbours, radius, "uniform")
        ties = _by_cell(_near_ties(np.asarray(grey, np.float64), neighbours, radius)).mean(axis=1)
        part, actual = np.split(actual, [16 * (neighbours + 2)])
        for histogram, cell, tied in zip(part.reshape(16, -1), _by_cell(codes), ties, strict=True):
            expected = np.bincount(cell.astype(int), minlength=neighbours + 2) / len(cell)
            # A pixel that may go either way moves at most its own share from one bin to another.
            assert np.abs(histogram - expected).max() <= tied + 1e-6
            checked += int(tied < 0.2)
    assert not len(actual)
    assert checked > 10


def test_lbp_without_ties_is_exactly_that_of_scikit_image() -> None:
    """All levels differ by far more than rounding: each pixel is compared with a slope."""
    rows, columns = np.mgrid[:16, :16]
    grey = (rows * 11 + columns * 4 + (rows * columns) % 3).astype(np.uint8)
    framed = Image.fromarray(grey)
    ties = [_near_ties(grey.astype(float), *circle) for circle in CIRCLES]
    actual = _embedding("lbp", framed)
    for (neighbours, radius), tied in zip(CIRCLES, ties, strict=True):
        codes = local_binary_pattern(grey, neighbours, radius, "uniform")
        part, actual = np.split(actual, [16 * (neighbours + 2)])
        free = _by_cell(tied).sum(axis=1) == 0
        expected = np.stack(
            [np.bincount(c.astype(int), minlength=neighbours + 2) / 16 for c in _by_cell(codes)]
        )
        assert free.sum() >= 8
        assert np.array_equal(part.reshape(16, -1)[free], expected[free].astype(np.float32))


def test_a_flat_image_has_the_pattern_of_all_neighbours_bright_and_no_gradient() -> None:
    framed = Image.new("L", (64, 64), 93)
    lbp8 = _embedding("lbp", framed)[: 16 * 10].reshape(4, 4, 10)
    assert np.all(lbp8[1:3, 1:3, 8] == 1)  # at the border outside is darker
    assert not _embedding("hog", framed).any()


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_colours_are_counted_as_numpy_counts_them(name: str) -> None:
    framed = _framed(name, 64, 64)
    levels_HWC = np.asarray(framed.convert("RGB"))
    edges = np.array([0, 64, 128, 192, 256])
    expected = [
        np.histogramdd(levels_HWC[y : y + 32, x : x + 32].reshape(-1, 3), [edges] * 3)[0] / 1024
        for y in (0, 32)
        for x in (0, 32)
    ]
    assert np.abs(_embedding("colour", framed) - np.ravel(expected)).max() < 1e-6


def test_a_combination_is_its_parts_side_by_side_in_one_order() -> None:
    framed = _framed("cat", 64, 64)
    parts = [_embedding(part, framed) for part in ("hog", "lbp", "colour")]
    assert np.array_equal(_embedding("colour+hog+lbp", framed), np.concatenate(parts))
    assert canonical_name("lbp+hog") == "hog+lbp"
    assert descriptor_graph("lbp+hog", 64, 64) == descriptor_graph("hog+lbp", 64, 64)


@pytest.mark.parametrize("model", ["hog+hog", "hog+", "", "sift", "hog lbp", "HOG"])
def test_other_names_are_no_descriptors(model: str) -> None:
    assert parse_descriptors(model) == ()
    with pytest.raises(ValueError, match="does not join"):
        descriptor_graph(model, 64, 64)


@pytest.mark.parametrize("size", [(64, 8), (60, 64), (0, 0)])
def test_a_size_that_cells_do_not_fill_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cells of 8 px"):
        descriptor_graph("hog", *size)


@pytest.mark.parametrize("model", ["hog", "lbp", "colour", "hog+lbp+colour"])
@pytest.mark.parametrize("size", [(16, 16), (24, 40), (128, 128)])
def test_the_size_of_the_embedding_is_known_beforehand(model: str, size: tuple[int, int]) -> None:
    height, width = size
    framed = _framed("coffee", width, height)
    assert _embedding(model, framed).shape == (descriptor_size(model, height, width),)


@pytest.mark.parametrize("model", ["hog", "lbp", "colour", "hog+lbp+colour"])
def test_the_multiply_adds_are_those_of_the_graph(model: str) -> None:
    graph = onnx.shape_inference.infer_shapes(
        onnx.load_from_string(descriptor_graph(model, 48, 80))
    ).graph
    shapes = {
        value.name: [one.dim_value or 1 for one in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    } | {constant.name: list(constant.dims) for constant in graph.initializer}
    counted = 0
    for node in graph.node:
        if node.op_type == "Conv":
            counted += np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            counted += np.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    assert multiply_adds(model, 48, 80) == counted


def test_an_image_says_the_same_alone_and_in_a_batch() -> None:
    batch = np.concatenate([_input(_framed(name, 64, 64)) for name in ("cat", "coffee", "coins")])
    session = open_session(descriptor_graph("hog+lbp+colour", 64, 64))
    together = session.run(["embedding"], {"image": batch})[0]
    alone = [session.run(["embedding"], {"image": one[None]})[0][0] for one in batch]
    assert np.array_equal(together, alone)


def test_the_same_descriptors_are_the_same_bytes() -> None:
    first, second = (descriptor_graph("hog+lbp+colour", 64, 64) for _ in range(2))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert first != descriptor_graph("hog+lbp+colour", 64, 72)


def test_grey_and_colour_files_of_one_image_are_described_alike() -> None:
    grey = _framed("camera", 64, 64)
    assert np.array_equal(_embedding("hog+lbp", grey), _embedding("hog+lbp", grey.convert("RGB")))
