"""Parity: two forms of one classifier must agree on real images, or the export fails.

Shape suffixes: N images, C numbers an image (logits, or the sizes of an embedding).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import ParityFailed

ROUNDING_FACTOR = 4.0  # of the rounding error of one form: what that of two may reach
MIN_RELATIVE_SPREAD = (
    1e-3  # of the largest number: below it rounding is as large as the effect of images
)


def check_parity(
    expected_NC: NDArray[Any],
    actual_NC: NDArray[Any],
    *,
    what: str,
    tolerance: float = 1e-4,
    exact: Callable[[], NDArray[np.float64]] | None = None,
) -> float:
    """The relative error between two forms: max |difference| / spread across images.

    The spread is the widest range of a column of the expected numbers. Dividing by the numbers
    themselves would let a large constant hide a network that gives the same for every image, as one
    with untrained batch-norm statistics does: two such forms agree, and it means nothing.

    Args:
        expected_NC: from the form that was trained.
        actual_NC: from the form that ships, of the same images in the same order.
        what: names the two forms in the error.
        tolerance: the largest relative error that passes.
        exact: computes the expected numbers (N, C) in double precision; asked only where the two
            forms differ, to tell rounding from a mistake.

    Raises:
        ParityFailed: the error is larger, the shapes differ, a number is not finite, or the
            expected numbers hardly depend on the image, so that nothing can be certified.
    """
    if expected_NC.shape != actual_NC.shape or len(expected_NC) < 2:
        raise ParityFailed(
            f"{what}: shapes {expected_NC.shape} and {actual_NC.shape}; "
            "expected the same one, with at least 2 images."
        )
    expected_NC, actual_NC = expected_NC.astype(np.float64), actual_NC.astype(np.float64)
    if not (np.isfinite(expected_NC).all() and np.isfinite(actual_NC).all()):
        raise ParityFailed(f"{what}: numbers that are not finite; the training has diverged.")
    spread = float(np.ptp(expected_NC, axis=0).max())
    largest = float(np.abs(expected_NC).max())
    if spread <= MIN_RELATIVE_SPREAD * largest:
        raise ParityFailed(
            f"{what}: cannot be compared, since {len(expected_NC)} images give almost the same "
            f"numbers (spread {spread:.2g}, largest {largest:.2g}). Is the network trained, and "
            "are its batch-norm statistics estimated?"
        )
    worst = float(np.abs(expected_NC - actual_NC).max())
    error = worst / spread
    if error > tolerance:
        rounding = float(np.abs(expected_NC - exact()).max()) / spread if exact else 0.0
        raise ParityFailed(
            f"{what}: the two forms differ by {worst:.3g} where images spread over "
            f"{spread:.3g}: a relative error of {error:.2g}, expected at most {tolerance:g}. "
            f"Nothing was written; {_advice(error, rounding)}"
        )
    return error


def _advice(error: float, rounding: float) -> str:
    """What to do about an error, given that of single precision in the first form alone."""
    if error > ROUNDING_FACTOR * rounding:
        return "please report this with the model's name."
    return (
        f"the network alone, with its numbers rounded to 32 bits, is off by {rounding:.2g}, so no "
        "form can be proved equal. Its images are told apart too little: take a larger "
        "--image-size, pretrained weights, or another model."
    )
