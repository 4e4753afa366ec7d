"""How alike two grey images of one size are, by three measures that fail in different ways.

- SSIM: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural
  Similarity"; scikit-image's, with its usual uniform window. Likes the same texture in the same
  place.
- NCC: the correlation of the grey levels, blind to brightness and contrast.
- Dice: the overlap of what is brighter than Otsu's threshold (Otsu 1979): the shape alone.

Shape suffixes: Q and R images, S side, P pixels.
"""

import numpy as np
from numpy.typing import NDArray


def ssim(first_SS: NDArray[np.float32], second_SS: NDArray[np.float32]) -> float:
    """Structural similarity of two grey images in [0, 1]: at most 1, which is the same one."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(first_SS, second_SS, data_range=1.0))


def ncc_QR(first_QSS: NDArray[np.float32], second_RSS: NDArray[np.float32]) -> NDArray[np.float64]:
    """The correlation of the pixels of every two images, in [-1, 1]; 0 for a blank one."""
    first_QP, second_RP = (_standardise(each) for each in (first_QSS, second_RSS))
    return np.asarray(np.clip(first_QP @ second_RP.T, -1, 1))


def dice_QR(first_QSS: NDArray[np.bool_], second_RSS: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Twice what two masks share, of the sum of their areas, in [0, 1]; 1 for two empty ones."""
    first_QP = first_QSS.reshape(len(first_QSS), -1).astype(np.float64)
    second_RP = second_RSS.reshape(len(second_RSS), -1).astype(np.float64)
    areas_QR = first_QP.sum(axis=1)[:, None] + second_RP.sum(axis=1)[None]
    shared_QR = first_QP @ second_RP.T
    both_QR = np.ones_like(areas_QR)
    np.divide(2 * shared_QR, areas_QR, out=both_QR, where=areas_QR > 0)
    return np.asarray(both_QR, np.float64)


def _standardise(images_QSS: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each image as a vector of mean 0 and length 1; a blank one is all zeros."""
    flat_QP = images_QSS.reshape(len(images_QSS), -1).astype(np.float64)
    centred_QP = flat_QP - flat_QP.mean(axis=1, keepdims=True)
    lengths_Q1 = np.linalg.norm(centred_QP, axis=1, keepdims=True)
    standard_QP = np.zeros_like(centred_QP)
    np.divide(centred_QP, lengths_Q1, out=standard_QP, where=lengths_Q1 > 1e-9)
    return np.asarray(standard_QP, np.float64)


def otsu_mask(grey_SS: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What is above Otsu's threshold; nothing of a blank image."""
    from skimage.filters import threshold_otsu

    if np.ptp(grey_SS) == 0:
        return np.zeros(grey_SS.shape, bool)
    return np.asarray(grey_SS > threshold_otsu(grey_SS))
