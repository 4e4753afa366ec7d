"""Descriptors of images for neighbour search: 27 low DCT frequencies of a region.

A region is resized to 12 by 12 pixels, its mean taken off, extreme pixels clipped (so that a text
does not outweigh the image), and its low frequencies normalised to length 1, which removes
brightness and contrast. Perceptual hashes were not used: a crop of 3 % changes 10 to 22 of the 64
bits of a hash.

Shape suffixes: N images, R rows and K columns of pixels, S side of the region in pixels,
M = S * S, D coefficients of a descriptor.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, CopyTransform
from holotype.dataset.near_duplicates.resize_blur_dct import (
    Floats,
    dct_waves,
    downscaling_matrix,
    resize_grey,
)
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_CANDIDATES = DEFAULT.candidates
_SIDE = _CANDIDATES.descriptor_px
_NUM_ORIENTATIONS = 8  # they come first in `TRANSFORMS`


def thumbnails(records: NDArray[np.void]) -> Floats:
    """Grey images (N, R, K) that descriptors are computed from."""
    step = DEFAULT.batches.resized_images
    starts = range(0, len(records), step)
    return np.concatenate(
        [resize_grey(records[s : s + step], _CANDIDATES.thumbnail_px) for s in starts]
    )


def descriptors(thumbnails_NRK: Floats, transform: CopyTransform) -> Floats:
    """Descriptors (N, D) of the crop of a transform, not turned; zeros where there is no contrast.

    Float32 vectors of length 1.
    """
    crop_NSS = _clipped_crop(thumbnails_NRK, transform)
    vectors_ND = crop_NSS.reshape(len(crop_NSS), -1) @ _dct_basis()
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    has_contrast = length_N1 > _CANDIDATES.min_contrast * _SIDE
    return np.where(has_contrast, vectors_ND / np.maximum(length_N1, 1e-6), 0).astype(np.float32)


def orientation_invariant(vectors_ND: Floats) -> Floats:
    """Descriptors that mirroring and turning do not change, of the same length.

    Absolute values, those of (down, across) and (across, down) sorted. Distances never grow.
    """
    size_ND = np.abs(vectors_ND)
    exchanged = [_dct_orders().index((across, down)) for down, across in _dct_orders()]
    takes_larger = np.array([down >= across for down, across in _dct_orders()])
    larger, smaller = (f(size_ND, size_ND[:, exchanged]) for f in (np.maximum, np.minimum))
    return np.where(takes_larger, larger, smaller)


@cache
def orientation_matrices() -> list[Floats]:
    """For each of the eight orientations the matrix (D, D) that turns a descriptor."""
    basis_MD = _dct_basis()
    images_DSS = basis_MD.T.reshape(-1, _SIDE, _SIDE)
    return [
        transform.orient(images_DSS).reshape(len(images_DSS), -1) @ basis_MD
        for transform in TRANSFORMS[:_NUM_ORIENTATIONS]
    ]


def _clipped_crop(thumbnails_NRK: Floats, transform: CopyTransform) -> Floats:
    """The crop (N, S, S) of each image, its mean taken off and extremes clipped."""
    size = thumbnails_NRK.shape[-1]
    down = downscaling_matrix(size, _SIDE, transform.top, transform.bottom)
    across = downscaling_matrix(size, _SIDE, transform.left, transform.right)
    crop_NSS = _map_last_axis(_map_last_axis(thumbnails_NRK, across), down)
    crop_NSS -= crop_NSS.mean((1, 2), keepdims=True)
    for _ in range(_CANDIDATES.clip_passes):  # at first the extremes widen the deviation
        most = _CANDIDATES.clip_deviations * crop_NSS.std((1, 2), keepdims=True)
        crop_NSS = np.clip(crop_NSS, -most, most)
        crop_NSS -= crop_NSS.mean((1, 2), keepdims=True)
    return crop_NSS


def _map_last_axis(images_NRK: Floats, matrix: Floats) -> Floats:
    """Multiply the last axis and exchange the last two; one large product is the fastest."""
    rows, columns = images_NRK.shape[1:]
    mapped = images_NRK.reshape(-1, columns) @ matrix.T
    return np.ascontiguousarray(mapped.reshape(-1, rows, len(matrix)).transpose(0, 2, 1))


@cache
def _dct_orders() -> list[tuple[int, int]]:
    """Half waves down and across of every coefficient; the constant is left out."""
    most = _CANDIDATES.max_frequency
    pairs = [(down, across) for down in range(most + 1) for across in range(most + 1 - down)]
    return pairs[1:]


@cache
def _dct_basis() -> Floats:
    """Orthonormal basis (M, D) of the low frequencies of a DCT-II."""
    waves = dct_waves(_SIDE, _CANDIDATES.max_frequency + 1)
    basis = [np.outer(waves[down], waves[across]).ravel() for down, across in _dct_orders()]
    return np.stack(basis, 1).astype(np.float32)
