"""Matrices that resize, smooth and transform lines of small grey images.

Shape suffixes: N images, R rows and K columns of pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def downscaling_matrix(length: int, new_length: int, start: float = 0, stop: float = 1) -> Floats:
    """Matrix (new_length, length) that resizes a window of a line with a triangle filter.

    The window is given by fractions of the line; beyond the line its border is repeated.
    """
    places = (start + (np.arange(new_length) + 0.5) / new_length * (stop - start)) * length - 0.5
    places = np.clip(places, 0, length - 1)
    width = max(1.0, (stop - start) * length / new_length)
    weights = np.maximum(0, 1 - np.abs(np.arange(length) - places[:, None]) / width)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def resize_grey(records: NDArray[np.void], side_px: int) -> Floats:
    """Grey images (N, side_px, side_px) of fingerprints, float32 in grey levels."""
    grey_NRK = np.empty((len(records), side_px, side_px), np.float32)
    sizes = np.stack([records["rows"], records["columns"]], 1).astype(np.int64)
    for rows, columns in sorted(set(map(tuple, sizes.tolist()))):  # faster than np.unique
        some = np.flatnonzero((sizes == (rows, columns)).all(1))
        pixels = records["grey"][some, :rows, :columns].astype(np.float32)
        grey_NRK[some] = (
            downscaling_matrix(rows, side_px) @ pixels @ downscaling_matrix(columns, side_px).T
        )
    return grey_NRK


def gaussian_matrix(side_px: int, deviation_px: float) -> Floats:
    """Matrix (side_px, side_px) that smooths a line with a Gaussian."""
    distance = np.arange(side_px)[:, None] - np.arange(side_px)
    weights = np.exp(-(distance**2) / (2 * deviation_px**2))
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def dct_waves(length: int, num_waves: int) -> Floats:
    """The first rows (num_waves, length) of an orthonormal DCT-II, float64."""
    places = (np.arange(length) + 0.5) * np.pi / length
    waves = np.cos(np.arange(num_waves)[:, None] * places)
    return np.asarray(waves / np.linalg.norm(waves, axis=1, keepdims=True))
