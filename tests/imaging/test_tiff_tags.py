"""TIFF pixels that Pillow reads wrongly or in part: inverted, signed, or of more bands."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holotype.errors import UnsupportedMode
from holotype.imaging.decode import decode

GREY = np.tile(np.linspace(0, 255, 32).astype(int), (32, 1))[:, :, None]
COLOUR = np.concatenate([GREY, 255 - GREY, GREY // 2], axis=2)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2


def tiff(
    values_HWS: NDArray[Any], bits: int, photometric: int, *, signed: bool = False, extra: int = -1
) -> bytes:
    """An uncompressed TIFF by the specification.

    Args:
        extra: the meaning of the samples beyond grey or RGB: 0 unspecified, 2 alpha.
    """
    height, width, samples = values_HWS.shape
    data = values_HWS.astype(f"<{'i' if signed else 'u'}{bits // 8}").tobytes()
    behind, offset = b"", 8 + len(data)

    def shorts(numbers: list[int]) -> int:
        nonlocal behind
        raw = struct.pack(f"<{len(numbers)}H", *numbers)
        if len(raw) <= 4:
            return int.from_bytes(raw, "little")
        behind += raw
        return offset + len(behind) - len(raw)

    extras = [extra] * (samples - (3 if photometric == RGB else 1))
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, shorts([bits] * samples)),
        (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, samples),
        (278, 4, 1, height), (279, 4, 1, len(data)),
        *([(338, 3, len(extras), shorts(extras))] if extras else []),
        (339, 3, samples, shorts([2 if signed else 1] * samples)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", offset + len(behind)) + data + behind + directory


@pytest.mark.parametrize("bits", [8, 16])
def test_levels_that_count_from_white_are_inverted(bits: int) -> None:
    levels = GREY * (257 if bits == 16 else 1)
    for content in (
        tiff(levels, bits, BLACK_IS_ZERO),
        tiff(2**bits - 1 - levels, bits, WHITE_IS_ZERO),
    ):
        assert np.array_equal(np.asarray(decode(content).pixels), GREY[:, :, 0])


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_levels_are_refused_by_name(bits: int) -> None:
    with pytest.raises(UnsupportedMode, match=f"signed {bits}-bit integers.*unsigned 8 or 16"):
        decode(tiff(GREY - 128, bits, BLACK_IS_ZERO, signed=True))


@pytest.mark.parametrize("bits", [8, 16])
def test_bands_beyond_colour_are_left_out_with_a_warning(bits: int) -> None:
    scale = 257 if bits == 16 else 1
    image = decode(tiff(np.concatenate([COLOUR, GREY], 2) * scale, bits, RGB, extra=0))
    assert np.abs(np.asarray(image.pixels).astype(int) - COLOUR).max() <= 1
    assert image.warnings == ("the file has 4 bands; band 4 is not used",)


def test_bands_beyond_grey_are_left_out_with_a_warning() -> None:
    image = decode(tiff(np.concatenate([GREY, 255 - GREY], 2), 8, BLACK_IS_ZERO, extra=0))
    assert np.array_equal(np.asarray(image.pixels), GREY[:, :, 0])
    assert image.warnings == ("the file has 2 bands; band 2 is not used",)
    five = np.concatenate([COLOUR, GREY, GREY], 2)
    assert decode(tiff(five, 8, RGB, extra=0)).warnings == (
        "the file has 5 bands; bands 4 to 5 are not used",
    )


def test_alpha_is_no_band_that_is_left_out() -> None:
    image = decode(tiff(np.concatenate([COLOUR, GREY], 2), 8, RGB, extra=2))
    assert image.mask is not None
    assert image.warnings == ()
