"""Small grey images: shrunk, smoothed.

Shape suffixes: N images, R rows and K columns of pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def downscaling_matrix(length: int, new_length: int, start: float = 0, stop: float = 1) -> Floats:
    """A matrix (new_length, length) that shrinks a window of a line with a triangle filter."""
    places = (start + (np.arange(new_length) + 0.5) / new_length * (stop - start)) * length - 0.5
    places = np.clip(places, 0, length - 1)  # what lies outside looks like the border
    width = max(1.0, (stop - start) * length / new_length)
    weights = np.maximum(0, 1 - np.abs(np.arange(length) - places[:, None]) / width)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def resize_grey(records: NDArray[np.void], side: int) -> Floats:
    """Grey images at `side` by `side` pixels."""
    grey_NRK = np.empty((len(records), side, side), np.float32)
    sizes = np.stack([records["rows"], records["columns"]], 1).astype(np.int64)
    for rows, columns in sorted(set(map(tuple, sizes.tolist()))):  # NumPy's unique is slow for few
        some = np.flatnonzero((sizes == (rows, columns)).all(1))
        pixels = records["grey"][some, :rows, :columns].astype(np.float32)
        grey_NRK[some] = (
            downscaling_matrix(rows, side) @ pixels @ downscaling_matrix(columns, side).T
        )
    return grey_NRK


def gaussian_matrix(side: int, deviation: float) -> Floats:
    """A matrix that smooths a line with a Gaussian of so many pixels."""
    distance = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-(distance**2) / (2 * deviation**2))
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)
