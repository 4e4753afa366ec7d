"""Local agreement of two images: what is left between them after registration.

Two images of one individual have the same marks in the same places. A pair is registered by shift,
scale, contrast and sharpness at 48 by 48 pixels; then the correlation says how well the whole
agrees, and the largest smoothed difference, over the contrast, whether some place does not.

Shape suffixes: N pairs, S side of a thumbnail.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.registration import register_whole, smoothed_difference

STEPS = 4
SMOOTHING_PX = 1.0
MARGIN_PX = 2
_BATCH = 32  # pairs registered together; speed only
_LEAST_CONTRAST = 1.0  # grey levels; a flat image agrees with nothing


@dataclass(frozen=True, eq=False)
class LocalAgreement:
    """N pairs after registration.

    Attributes:
        correlation_N: from 0 to 1, over what both images show.
        log_difference_N: logarithm of the largest smoothed difference over the contrast.
        window_N4: where the first image lies in the second: start and extent down, start and extent
            across, as fractions of its side.
    """

    correlation_N: NDArray[np.float64]
    log_difference_N: NDArray[np.float64]
    window_N4: NDArray[np.float64]


def local_agreement(first_NSS: NDArray[np.uint8], second_NSS: NDArray[np.uint8]) -> LocalAgreement:
    """Register pairs of thumbnails, in two threads.

    Source:
        `near_duplicates.registration`: Gauss-Newton on shift, scale, gain, offset and blur.
    """
    starts = range(0, len(first_NSS), _BATCH)

    def agree(start: int) -> LocalAgreement:
        some = slice(start, start + _BATCH)
        return _agreement(first_NSS[some].astype(np.float32), second_NSS[some].astype(np.float32))

    if len(starts) <= 1:
        found = [agree(start) for start in starts]
    else:
        with ThreadPoolExecutor(max_workers=2) as threads:
            found = list(threads.map(agree, starts))
    return LocalAgreement(
        np.concatenate([np.empty(0), *(one.correlation_N for one in found)]),
        np.concatenate([np.empty(0), *(one.log_difference_N for one in found)]),
        np.concatenate([np.empty((0, 4)), *(one.window_N4 for one in found)]),
    )


def _agreement(first_NSS: NDArray[np.float32], second_NSS: NDArray[np.float32]) -> LocalAgreement:
    fit = register_whole(
        first_NSS, second_NSS, smoothing_px=SMOOTHING_PX, steps=STEPS, margin_px=MARGIN_PX
    )
    contrast_N = np.maximum(fit.contrast_N, _LEAST_CONTRAST)
    correlation_N = np.sqrt(np.clip(1 - (fit.residual_N / contrast_N) ** 2, 0, 1))
    difference_N = smoothed_difference(fit).max((1, 2)) / contrast_N
    return LocalAgreement(
        np.asarray(correlation_N, np.float64),
        np.log(np.maximum(difference_N, 1e-3)).astype(np.float64),
        np.asarray(fit.window_N4, np.float64),
    )
