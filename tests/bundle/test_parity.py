import numpy as np
import pytest

from holotype.bundle.building.parity import check_parity
from holotype.errors import ParityFailed

LOGITS = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)


def test_rounding_passes_and_its_size_is_returned() -> None:
    shifted = LOGITS.astype(np.float64)
    shifted[3, 2] += 1e-5
    columns = [LOGITS[:, c].max() - LOGITS[:, c].min() for c in range(4)]
    error = check_parity(LOGITS, shifted, what="x")
    assert error == pytest.approx(1e-5 / max(columns), rel=1e-3)


def test_a_real_difference_fails_with_its_numbers() -> None:
    with pytest.raises(ParityFailed, match=r"torch and ONNX.*differ by 0\.1 "):
        check_parity(LOGITS, LOGITS + 0.1, what="torch and ONNX")


def test_a_difference_as_large_as_rounding_is_told_from_a_mistake() -> None:
    other = LOGITS + np.float32(0.01)
    with pytest.raises(ParityFailed, match=r"off by 0\.00\d+.*larger --image-size, pretrained"):
        check_parity(LOGITS, other, what="x", exact=lambda: LOGITS.astype(np.float64) + 0.02)
    with pytest.raises(ParityFailed, match="please report"):
        check_parity(LOGITS, other, what="x", exact=lambda: LOGITS.astype(np.float64) + 1e-6)


def test_two_forms_that_say_the_same_of_every_image_are_not_certified() -> None:
    constant = np.tile(LOGITS[:1], (10, 1)) + 1e-6 * LOGITS
    with pytest.raises(ParityFailed, match="almost the same"):
        check_parity(constant, constant, what="x")


def test_a_large_offset_does_not_hide_a_wrong_image() -> None:
    """Relative to the numbers themselves this would be 5e-5, and pass."""
    expected = LOGITS + 2000
    actual = expected.copy()
    actual[0] += 0.1
    with pytest.raises(ParityFailed, match="relative error"):
        check_parity(expected, actual, what="x")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (LOGITS, LOGITS[:, :3]),
        (LOGITS[:1], LOGITS[:1]),
        (LOGITS * np.nan, LOGITS),
        (LOGITS, LOGITS * np.inf),
    ],
)
def test_what_cannot_be_compared_fails(expected: np.ndarray, actual: np.ndarray) -> None:
    with pytest.raises(ParityFailed):
        check_parity(expected, actual, what="x")
