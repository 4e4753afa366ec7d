"""Resize or recompress one small image like the other, and compare.

Of images of at most 64 pixels a side every pixel is stored. So whether one image is the other at
another size can be tested: it is resized with each filter in use, and one of the results equals the
other image up to rounding. The same holds for JPEG qualities, whose noise in a small image is as
large as what tells two specimens apart. Different images never agree that closely, unless they
have next to no contrast.

Shape suffixes: N pairs, R rows and K columns of pixels, L positions along a line, Q qualities,
B blocks of 8 by 8, F frequencies of a block.
"""

import io
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from holotype.dataset.audit_fingerprints import COLOUR_SIZE, downscale
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.pair_measurements import (
    PairBatch,
    PairMeasurements,
    colour_difference,
)
from holotype.dataset.near_duplicates.resize_blur_dct import Floats, dct_waves, gaussian_matrix
from holotype.dataset.near_duplicates.thresholds import DEFAULT

Kernel = Callable[[Floats], Floats]

RESIZED, RECOMPRESSED = 1, 2  # as `PairMeasurements.reproduced_by_N` has them
REPRODUCED_KINDS = {RESIZED: "resized", RECOMPRESSED: "recompressed"}
_REPRODUCTION = DEFAULT.reproduction
_JPEG_QUALITIES = np.arange(_REPRODUCTION.min_quality, _REPRODUCTION.max_quality + 1)
_BLOCK = 8  # pixels; side of a JPEG block


def have_different_sizes(records: NDArray[np.void], candidates: Candidates) -> NDArray[np.bool_]:
    """Which pairs are images of two sizes."""
    size_N2 = np.stack([records["width"], records["height"]], 1)
    return np.asarray((size_N2[candidates.fixed] != size_N2[candidates.moving]).any(1))


def measure_reproductions(
    records: NDArray[np.void],
    candidates: Candidates,
    plain: PairMeasurements,
    doubtful: NDArray[np.int64],
) -> PairMeasurements:
    """The plain measurements, replaced for doubtful pairs of which one reproduces the other.

    Args:
        doubtful: rows of upright pairs.
    """
    measured, is_resized_N = deepcopy(plain), have_different_sizes(records, candidates)
    reproduced = []
    for pair in doubtful.tolist():
        one, other = records[candidates.fixed[pair]], records[candidates.moving[pair]]
        contrast = min(_pixels(one).std(), _pixels(other).std())
        if contrast < _REPRODUCTION.min_contrast:
            continue
        difference_of = _resize_difference if is_resized_N[pair] else _recompression_difference
        difference = min(difference_of(one, other), difference_of(other, one))
        if difference <= _REPRODUCTION.rounding_limit:
            measured.difference_N[pair] = difference
            measured.reproduced_by_N[pair] = RESIZED if is_resized_N[pair] else RECOMPRESSED
            measured.contrast_N[pair] = contrast
            measured.gain_N[pair], measured.offset_N[pair] = 1, 0
            measured.window_N4[pair] = (0, 1, 0, 1)
            reproduced.append(pair)
    batch = PairBatch(records, candidates, np.array(reproduced, np.int64), COLOUR_SIZE)
    measured.colour_N[batch.pairs] = colour_difference(batch, measured)
    return measured


def _resize_difference(one: NDArray[np.void], other: NDArray[np.void]) -> float:
    """Least difference between the second image and the first resized to its size.

    Infinite if not all pixels of the first are stored.
    """
    if not _is_stored_in_full(one):
        return np.inf
    rows, columns = _stored_size(other)
    image, wanted_RK = Image.fromarray(_pixels(one).astype(np.uint8)), _pixels(other)
    resized = [image.resize((columns, rows), filter) for filter in Image.Resampling]
    resized += [_without_antialiasing(image, rows, columns, k) for k in (_triangle, _cubic)]
    resized.append(_nearest_by_corner(image, rows, columns))
    size = wanted_RK.shape[::-1]  # of the stored grey image, which may be smaller than the image
    return min(
        _max_difference(np.asarray(downscale(candidate, size), np.float32), wanted_RK)
        for candidate in resized
    )


def _recompression_difference(one: NDArray[np.void], other: NDArray[np.void]) -> float:
    """Difference between the second image and the first as a JPEG; infinite if not near any."""
    if not _is_stored_in_full(one):
        return np.inf
    pixels_RK, wanted_RK = _pixels(one), _pixels(other)
    quality = _estimate_jpeg_quality(pixels_RK, wanted_RK)
    if quality is None:
        return np.inf
    image = _as_jpeg(Image.fromarray(pixels_RK.astype(np.uint8)), quality)
    return _max_difference(np.asarray(image, np.float32), wanted_RK)


def _as_jpeg(image: Image.Image, quality: int) -> JpegImageFile:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    stream.seek(0)
    return JpegImageFile(stream)


def _estimate_jpeg_quality(pixels_RK: Floats, wanted_RK: Floats) -> int | None:
    """The quality at which the first image is nearest to the second; none if still far from it."""
    blocks_BF, wanted_BF = _blocks(pixels_RK) @ _dct_basis().T, _blocks(wanted_RK)

    def differences(rows: NDArray[np.int64]) -> Floats:
        tables_QF = _quantization_tables()[rows][:, None]
        kept_QBF = np.rint(blocks_BF / tables_QF) * tables_QF
        difference_QBF = np.clip(kept_QBF @ _dct_basis(), -128, 127) - wanted_BF
        return np.asarray(np.abs(difference_QBF).mean((1, 2)))

    rows, stride = np.arange(len(_JPEG_QUALITIES)), _REPRODUCTION.quality_stride
    best = stride * int(differences(rows[::stride]).argmin())
    near = rows[max(0, best - stride) : best + stride + 1]
    difference_Q = differences(near)
    if difference_Q.min() > _REPRODUCTION.rounding_limit:
        return None
    return int(_JPEG_QUALITIES[near[difference_Q.argmin()]])


def _blocks(pixels_RK: Floats) -> Floats:
    """Blocks (B, 64) of levels around 0; incomplete ones repeat the border."""
    padding = [(0, -side % _BLOCK) for side in pixels_RK.shape]
    padded = np.pad(pixels_RK - 128, padding, mode="edge")
    rows, columns = (side // _BLOCK for side in padded.shape)
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
    return np.ascontiguousarray(blocks.reshape(-1, _BLOCK * _BLOCK))


@cache
def _dct_basis() -> Floats:
    """Orthonormal DCT-II of a block (F, 64)."""
    waves = dct_waves(_BLOCK, _BLOCK)
    return np.kron(waves, waves).astype(np.float32)


@cache
def _quantization_tables() -> Floats:
    """Quantization steps of grey frequencies (Q, F) at each quality, as Pillow writes them."""
    block = Image.new("L", (_BLOCK, _BLOCK))
    tables = [_as_jpeg(block, quality).quantization[0] for quality in _JPEG_QUALITIES.tolist()]
    return np.array(tables, np.float32)


def _without_antialiasing(
    image: Image.Image, rows: int, columns: int, kernel: Kernel
) -> Image.Image:
    """Resize as OpenCV and PyTorch do by default: from the four nearest pixels per axis."""
    down = _resize_matrix(image.height, rows, kernel)
    across = _resize_matrix(image.width, columns, kernel)
    pixels_RK = down @ np.asarray(image, np.float32) @ across.T
    return Image.fromarray(np.clip(np.rint(pixels_RK), 0, 255).astype(np.uint8))


def _nearest_by_corner(image: Image.Image, rows: int, columns: int) -> Image.Image:
    """Nearest pixels as OpenCV and PyTorch take them, by corners; Pillow takes them by centres."""
    row_R = np.arange(rows) * image.height // rows
    column_K = np.arange(columns) * image.width // columns
    return Image.fromarray(np.asarray(image)[row_R[:, None], column_K])


@cache
def _resize_matrix(length: int, new_length: int, kernel: Kernel) -> Floats:
    """Matrix (new_length, length) that resizes a line; beyond it its border is repeated."""
    places_L1 = (np.arange(new_length)[:, None] + 0.5) * length / new_length - 0.5
    taps_L4 = np.floor(places_L1).astype(np.int64) + np.arange(-1, 3)
    matrix = np.zeros((new_length, length), np.float32)
    row_L1 = np.arange(new_length)[:, None]
    np.add.at(matrix, (row_L1, np.clip(taps_L4, 0, length - 1)), kernel(places_L1 - taps_L4))
    return matrix


def _triangle(x: Floats) -> Floats:
    return np.asarray(np.maximum(0, 1 - np.abs(x)))


def _cubic(x: Floats) -> Floats:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", a = -3/4."""
    x = np.abs(x)
    near = (1.25 * x - 2.25) * x**2 + 1
    return np.where(x < 1, near, np.where(x < 2, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4), 0))


def _max_difference(reproduced_RK: Floats, wanted_RK: Floats) -> float:
    """Largest difference in grey levels, smoothed as `registration.smoothed_difference` does."""
    deviation_px = DEFAULT.registration.difference_smoothing_px
    down, across = (gaussian_matrix(side, deviation_px) for side in wanted_RK.shape)
    return float(np.abs(down @ (reproduced_RK - wanted_RK) @ across.T).max())


def _stored_size(record: NDArray[np.void]) -> tuple[int, int]:
    return int(record["height"]), int(record["width"])


def _is_stored_in_full(record: NDArray[np.void]) -> bool:
    return (int(record["rows"]), int(record["columns"])) == _stored_size(record)


def _pixels(record: NDArray[np.void]) -> Floats:
    pixels = record["grey"][: record["rows"], : record["columns"]]
    return np.asarray(pixels, np.float32)
