"""10 or 12 bits in 16: the right pixels, by NumPy arithmetic on the values that were written."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import TiffImagePlugin

from holotype.errors import CorruptBundle, UnsupportedMode
from holotype.imaging.decode import decode, from_pillow
from holotype.imaging.preprocessing import Preprocessing
from tests.imaging.test_decode import be, png

Array = NDArray[Any]
RNG = np.random.default_rng(0)
TWELVE = RNG.integers(0, 4096, (11, 14), dtype=np.uint16)
COLOUR = RNG.integers(0, 4096, (11, 14, 3), dtype=np.uint16)
ALPHA = np.where(TWELVE > 999, 4095, 0).astype(np.uint16)
SIZE = (14, 11)


def tiff(values: Array, **tags: Any) -> bytes:
    file = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    if "max_sample" in tags:
        info[281] = tags["max_sample"]
        info.tagtype[281] = 3
    if "description" in tags:
        info[270] = tags["description"]
    PillowImage.fromarray(values).save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def tiff_of_colour(values_HWC: Array, order: str, *, spare: bool = False) -> bytes:
    """Uncompressed RGB of 16 bits, which Pillow does not write; with a band beyond colour."""
    if spare:
        values_HWC = np.concatenate([values_HWC, values_HWC[..., :1] // 2], axis=2)
    height, width, bands = values_HWC.shape
    data = values_HWC.astype(f"{order}u2").tobytes()
    bits_at = 8 + len(data)
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, bits_at), (262, 4, 1, 2),
        (273, 4, 1, 8), (277, 4, 1, bands), (278, 4, 1, height), (279, 4, 1, len(data)),
        *([(338, 4, 1, 0)] if spare else []),
    ]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    directory += b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    bits = struct.pack(f"{order}{bands}H", *[16] * bands)
    return mark + struct.pack(f"{order}I", bits_at + len(bits)) + data + bits + directory


def levels(values: Array, bits: int) -> Array:
    return np.rint(np.minimum(values, 2**bits - 1) * (255 / (2**bits - 1)))


@pytest.mark.parametrize("bits", [8, 10, 12, 13, 16])
@pytest.mark.parametrize(
    ("content", "values"),
    [
        pytest.param(png(SIZE, 16, 0, be(TWELVE)), TWELVE, id="grey PNG"),
        pytest.param(tiff(TWELVE), TWELVE, id="grey TIFF"),
        pytest.param(png(SIZE, 16, 2, be(COLOUR)), COLOUR, id="colour PNG"),
        pytest.param(tiff_of_colour(COLOUR, "<"), COLOUR, id="colour TIFF"),
        pytest.param(tiff_of_colour(COLOUR, ">"), COLOUR, id="colour TIFF, big-endian"),
        pytest.param(
            tiff_of_colour(COLOUR, "<", spare=True), COLOUR, id="colour and near-infrared"
        ),
        pytest.param(
            b"P5 14 11 65535\n" + TWELVE.astype(">u2").tobytes(), TWELVE, id="PGM of 16 bits"
        ),
    ],
)
def test_the_largest_value_of_the_significant_bits_is_white(
    content: bytes, values: Array, bits: int
) -> None:
    pixels = np.asarray(decode(content, bits=bits).pixels, float)
    # Of colour with all 16 bits Pillow takes the high bytes, which is within one level.
    tolerance = 1 if bits == 16 and values.ndim == 3 else 0.5
    assert np.abs(pixels - levels(values, bits)).max() <= tolerance


def test_alpha_of_16_bits_has_the_range_of_its_colour() -> None:
    content = png(SIZE, 16, 6, be(np.dstack([COLOUR, ALPHA])))
    image = decode(content, bits=12)
    assert image.mask is not None
    assert np.array_equal(np.asarray(image.mask), np.where(ALPHA > 0, 255, 0))
    assert np.abs(np.asarray(image.pixels, float) - levels(COLOUR, 12)).max() <= 0.5


def test_a_transparent_colour_of_16_bits_stays_transparent() -> None:
    content = png(SIZE, 16, 2, be(COLOUR), tRNS=be(COLOUR[3, 4]))
    mask = decode(content, bits=12).mask
    assert mask is not None
    assert np.asarray(mask)[3, 4] == 0
    assert np.count_nonzero(np.asarray(mask) == 0) < 5


def test_white_is_zero_is_inverted_within_its_bits() -> None:
    file = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[262] = 0
    PillowImage.fromarray(TWELVE).save(file, "TIFF", tiffinfo=info)
    content = file.getvalue()
    if PillowImage.open(io.BytesIO(content)).tag_v2[262] != 0:  # type: ignore[attr-defined]
        place = content.index(struct.pack("<HHI", 262, 3, 1))
        content = content[: place + 8] + bytes(2) + content[place + 10 :]
    pixels = np.asarray(decode(content, bits=12).pixels, float)
    assert np.abs(pixels - (255 - levels(TWELVE, 12))).max() <= 0.5


def test_images_of_8_bits_and_of_stated_12_bits_are_not_scaled_again() -> None:
    grey = (TWELVE >> 4).astype(np.uint8)
    assert np.array_equal(np.asarray(decode(png(SIZE, 8, 0, grey.tobytes()), bits=10).pixels), grey)
    pgm = b"P5 14 11 4095\n" + TWELVE.astype(">u2").tobytes()
    assert np.abs(np.asarray(decode(pgm, bits=10).pixels, float) - levels(TWELVE, 12)).max() <= 0.5


def test_values_above_the_range_are_said() -> None:
    content = png(SIZE, 16, 0, be(TWELVE))
    assert decode(content, bits=12).warnings == ()
    assert decode(content, bits=10).warnings == (
        "values above 1,023, the largest of 10 bits, are white",
    )


@pytest.mark.parametrize(
    ("content", "largest", "is_stated"),
    [
        pytest.param(tiff(TWELVE >> 4, max_sample=4095), 4095, True, id="MaxSampleValue"),
        pytest.param(tiff(TWELVE, max_sample=1023), int(TWELVE.max()), False, id="exceeded"),
        pytest.param(tiff(TWELVE, max_sample=65535), int(TWELVE.max()), False, id="all 16"),
        pytest.param(
            tiff(TWELVE >> 4, description='<Pixels SignificantBits="12" />'), 4095, True, id="OME"
        ),
        pytest.param(png(SIZE, 16, 0, be(TWELVE >> 4), sBIT=b"\x0c"), 4095, True, id="sBIT"),
        pytest.param(png(SIZE, 16, 0, be(TWELVE)), int(TWELVE.max()), False, id="nothing"),
        pytest.param(png(SIZE, 8, 0, bytes(154)), 0, False, id="8 bits"),
    ],
)
def test_a_header_that_its_pixels_keep_to_states_the_range(
    content: bytes, largest: int, is_stated: bool
) -> None:
    image = decode(content)
    assert (image.largest, image.is_largest_stated) == (largest, is_stated)


def test_a_pillow_image_of_16_bits_is_read_like_its_file() -> None:
    image = from_pillow(PillowImage.fromarray(TWELVE), name="x", bits=12)
    assert np.abs(np.asarray(image.pixels, float) - levels(TWELVE, 12)).max() <= 0.5


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png(SIZE, 16, 2, be(COLOUR)), id="colour PNG"),
        pytest.param(png(SIZE, 16, 2, be(COLOUR), tRNS=be(COLOUR[3, 4])), id="transparent colour"),
        pytest.param(png(SIZE, 16, 0, be(TWELVE)), id="grey PNG"),
        pytest.param(png(SIZE, 8, 2, (COLOUR >> 4).astype(np.uint8).tobytes()), id="8 bits"),
        pytest.param(tiff_of_colour(COLOUR, ">"), id="colour TIFF"),
        pytest.param(b"P5 14 11 65535\n" + TWELVE.astype(">u2").tobytes(), id="PGM of 16 bits"),
        pytest.param(b"P5 14 11 4095\n" + TWELVE.astype(">u2").tobytes(), id="PGM of 12 bits"),
    ],
)
@pytest.mark.parametrize("bits", [12, 16])
def test_an_opened_and_a_loaded_image_are_read_like_their_file(
    content: bytes, bits: int, tmp_path: Path
) -> None:
    file = tmp_path / "image"
    file.write_bytes(content)
    expected = decode(file, bits=bits)
    for is_loaded in (False, True):
        with PillowImage.open(file) as image:
            if is_loaded:
                image.load()
            found = from_pillow(image, name="x", bits=bits)
        assert np.array_equal(np.asarray(found.pixels), np.asarray(expected.pixels))
        assert (found.mask is None) == (expected.mask is None)
    assert from_pillow(PillowImage.new("RGB", SIZE), name="x", bits=bits).pixels.size == SIZE


def test_a_loaded_image_whose_bits_are_lost_is_refused() -> None:
    image = PillowImage.open(io.BytesIO(png(SIZE, 16, 2, be(COLOUR))))
    image.load()
    with pytest.raises(UnsupportedMode, match=r"8 of its 16 bits.*its path or its bytes"):
        from_pillow(image, name="x", bits=12)
    assert from_pillow(image, name="x").pixels.mode == "RGB"


def test_a_loaded_image_that_was_changed_is_not_taken_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(png(SIZE, 16, 2, be(COLOUR)))
    with PillowImage.open(file) as image:
        image.paste((0, 0, 0), (0, 0, *SIZE))
        with pytest.raises(UnsupportedMode, match="hand over its path"):
            from_pillow(image, name="x", bits=12)


def test_a_loaded_tiff_knows_how_many_bits_it_had() -> None:
    content = io.BytesIO()
    PillowImage.new("RGB", SIZE, (9, 99, 199)).save(content, "TIFF")
    image = PillowImage.open(content)
    image.load()
    assert from_pillow(image, name="x", bits=12).pixels.getpixel((0, 0)) == (9, 99, 199)


def test_preprocessing_keeps_the_bits_and_bundles_of_before_have_16() -> None:
    twelve = Preprocessing(8, 8, "squash", "bilinear", (0, 0, 0), (1, 1, 1), bits=12)
    fields = twelve.to_json()
    assert fields["bits"] == 12
    assert Preprocessing.from_json(fields) == twelve
    assert twelve.digest() != Preprocessing.from_json({**fields, "bits": 16}).digest()
    del fields["bits"]
    assert Preprocessing.from_json(fields).bits == 16
    for wrong in (7, 17, "12", True):
        with pytest.raises(CorruptBundle, match="bits must be a whole number from 8 to 16"):
            Preprocessing.from_json({**fields, "bits": wrong})
