"""Small images that were only resized or recompressed: the same is done again, and compared.

Of an image of at most 64 pixels a side every pixel is remembered. Whether another one is the same
image at another size need not be guessed then from how little they differ: it is resized with
each of the filters in use, and one of them gives the other image, but for rounding. So too with
the qualities of JPEG, whose noise in a small image is as large as what tells two specimens apart.
No two images of a data set are alike to that degree, unless there is little to be seen in them.

Shape suffixes: N pairs, R rows and K columns of pixels, L places along a line, Q qualities,
B blocks of 8 by 8, F frequencies of a block.
"""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from holotype.dataset.fingerprints import downscale
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.downscale import Floats, gaussian_matrix
from holotype.dataset.near_duplicates.verification import PairMeasurements, colour_difference

Kernel = Callable[[Floats], Floats]

RESIZED, RECOMPRESSED = 1, 2
_JPEG_QUALITIES = np.arange(15, 99)  # above, too little is lost to matter
_QUALITY_STRIDE = 3  # of qualities; at a first look
_BLOCK = 8
_ROUNDING_LIMIT = 1.5  # grey levels; another image differs by more than 8
# Grey levels of contrast. Too little is left of fainter images: two ramps of 3, with different
# noise of 1 upon them, are one as JPEGs.
_MIN_CONTRAST = 8.0


def have_different_sizes(records: NDArray[np.void], candidates: Candidates) -> NDArray[np.bool_]:
    """Which pairs are of two sizes."""
    size_N2 = np.stack([records["width"], records["height"]], 1)
    return np.asarray((size_N2[candidates.fixed] != size_N2[candidates.moving]).any(1))


def measure_reproductions(
    records: NDArray[np.void],
    candidates: Candidates,
    plain: PairMeasurements,
    doubtful: NDArray[np.int64],
) -> PairMeasurements:
    """The same, but of doubtful pairs of which one image becomes the other when it is done again.

    Args:
        doubtful: which pairs; none of them mirrored or turned.
    """
    measured, is_resized_N = plain.select(slice(None)), have_different_sizes(records, candidates)
    reproduced = []
    for pair in doubtful.tolist():
        one, other = records[candidates.fixed[pair]], records[candidates.moving[pair]]
        contrast = min(_pixels(one).std(), _pixels(other).std())
        if contrast < _MIN_CONTRAST:
            continue
        difference_of = _resize_difference if is_resized_N[pair] else _recompression_difference
        difference = min(difference_of(one, other), difference_of(other, one))
        if difference <= _ROUNDING_LIMIT:
            measured.difference_N[pair] = difference
            measured.reproduced_by_N[pair] = RESIZED if is_resized_N[pair] else RECOMPRESSED
            measured.contrast_N[pair] = contrast
            measured.gain_N[pair], measured.offset_N[pair] = 1, 0
            measured.window_N4[pair] = (0, 1, 0, 1)
            reproduced.append(pair)
    pairs = np.array(reproduced, np.int64)
    measured.colour_N[pairs] = colour_difference(records, candidates, measured, pairs)
    return measured


def _resize_difference(one: NDArray[np.void], other: NDArray[np.void]) -> float:
    """The least difference of the other image from the one at its size; infinite if unknown."""
    if not _is_stored_in_full(one):
        return np.inf
    rows, columns = _stored_size(other)
    image, wanted_RK = Image.fromarray(_pixels(one).astype(np.uint8)), _pixels(other)
    resized = [image.resize((columns, rows), filter) for filter in _PILLOW_FILTERS]
    resized += [_without_antialiasing(image, rows, columns, kernel) for kernel in _KERNELS]
    resized.append(_nearest_by_corner(image, rows, columns))
    size = wanted_RK.shape[::-1]  # what is remembered of a larger one
    return min(
        _max_difference(np.asarray(downscale(candidate, size), np.float32), wanted_RK)
        for candidate in resized
    )


def _recompression_difference(one: NDArray[np.void], other: NDArray[np.void]) -> float:
    """The difference of the other image from the one as a JPEG; infinite if far from any."""
    if not _is_stored_in_full(one):
        return np.inf
    pixels_RK, wanted_RK = _pixels(one), _pixels(other)
    quality = _estimate_jpeg_quality(pixels_RK, wanted_RK)
    if quality is None:
        return np.inf
    stream = io.BytesIO()
    Image.fromarray(pixels_RK.astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return _max_difference(np.asarray(Image.open(stream), np.float32), wanted_RK)


def _estimate_jpeg_quality(pixels_RK: Floats, wanted_RK: Floats) -> int | None:
    """The quality at which the one image gives the other, if the mean difference is small."""
    blocks_BF, wanted_BF = _blocks(pixels_RK) @ _dct_basis().T, _blocks(wanted_RK)

    def differences(places: NDArray[np.int64]) -> Floats:
        tables_QF = _quantization_tables()[places][:, None]
        kept_QBF = np.rint(blocks_BF / tables_QF) * tables_QF
        apart_QBF = np.clip(kept_QBF @ _dct_basis(), -128, 127) - wanted_BF
        return np.asarray(np.abs(apart_QBF).mean((1, 2)))

    places = np.arange(len(_JPEG_QUALITIES))
    rough = _QUALITY_STRIDE * int(differences(places[::_QUALITY_STRIDE]).argmin())
    near = places[max(0, rough - _QUALITY_STRIDE) : rough + _QUALITY_STRIDE + 1]
    difference_Q = differences(near)
    if difference_Q.min() > _ROUNDING_LIMIT:
        return None
    return int(_JPEG_QUALITIES[near[difference_Q.argmin()]])


def _blocks(pixels_RK: Floats) -> Floats:
    """Blocks of 64 levels around 0; what is missing at the end repeats the border."""
    rows, columns = (-(-side // _BLOCK) for side in pixels_RK.shape)
    padding = [
        (0, _BLOCK * n - side) for n, side in zip((rows, columns), pixels_RK.shape, strict=True)
    ]
    padded = np.pad(pixels_RK - 128, padding, mode="edge")
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)
    return np.ascontiguousarray(blocks.reshape(-1, _BLOCK * _BLOCK))


@cache
def _dct_basis() -> Floats:
    """The orthonormal cosines of a block (F, F): frequencies by places."""
    places = (np.arange(_BLOCK) + 0.5) * np.pi / _BLOCK
    waves = np.cos(np.arange(_BLOCK)[:, None] * places)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    return np.kron(waves, waves).astype(np.float32)


@cache
def _quantization_tables() -> Floats:
    """The steps to which JPEG rounds frequencies of grey, at each quality (Q, F).

    Source: ITU-T T.81 (1992), table K.1, scaled as the Independent JPEG Group's library does.
    """
    stream = io.BytesIO()
    Image.new("L", (_BLOCK, _BLOCK)).save(stream, "JPEG", quality=50)  # 50 is table K.1 itself
    stream.seek(0)
    standard_F = np.array(JpegImageFile(stream).quantization[0])
    scale_Q1 = np.where(_JPEG_QUALITIES < 50, 5000 // _JPEG_QUALITIES, 200 - 2 * _JPEG_QUALITIES)[
        :, None
    ]
    steps_QF = np.clip((standard_F * scale_Q1 + 50) // 100, 1, 255)
    return np.asarray(steps_QF, np.float32)


def _without_antialiasing(
    image: Image.Image, rows: int, columns: int, kernel: Kernel
) -> Image.Image:
    """As OpenCV and PyTorch resize by default: the four pixels around each place, none other."""
    down, across = (
        _resize_matrix(image.height, rows, kernel),
        _resize_matrix(image.width, columns, kernel),
    )
    pixels_RK = down @ np.asarray(image, np.float32) @ across.T
    return Image.fromarray(np.clip(np.rint(pixels_RK), 0, 255).astype(np.uint8))


def _nearest_by_corner(image: Image.Image, rows: int, columns: int) -> Image.Image:
    """The nearest pixels as OpenCV and PyTorch take them: by corners, where Pillow asks centres."""
    row_R = np.arange(rows) * image.height // rows
    column_K = np.arange(columns) * image.width // columns
    return Image.fromarray(np.asarray(image)[row_R[:, None], column_K])


@cache
def _resize_matrix(length: int, new_length: int, kernel: Kernel) -> Floats:
    """What resizes a line (L, L); beyond the border lies the border."""
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


_PILLOW_FILTERS = tuple(Image.Resampling)
_KERNELS = (_triangle, _cubic)


def _max_difference(repeated_RK: Floats, wanted_RK: Floats) -> float:
    """The largest difference, smoothed as in `verification.smoothed_difference`, in grey levels."""
    down, across = (gaussian_matrix(side, 0.7) for side in wanted_RK.shape)
    return float(np.abs(down @ (repeated_RK - wanted_RK) @ across.T).max())


def _stored_size(record: NDArray[np.void]) -> tuple[int, int]:
    return int(record["height"]), int(record["width"])


def _is_stored_in_full(record: NDArray[np.void]) -> bool:
    """Whether every pixel is remembered."""
    return (int(record["rows"]), int(record["columns"])) == _stored_size(record)


def _pixels(record: NDArray[np.void]) -> Floats:
    pixels = record["grey"][: record["rows"], : record["columns"]]
    return np.asarray(pixels, np.float32)
