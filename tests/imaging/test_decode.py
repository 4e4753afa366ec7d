"""The one decoder, against images whose pixels are known beforehand.

Files are written by hand (`png`, `tiff_of_12_bits`) or losslessly by Pillow, and what they must
decode to is NumPy arithmetic on the array that went in.
"""

import io
import os
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import (
    EmptyFile,
    ImageError,
    NotAnImage,
    TooManyPixels,
    TruncatedImage,
    UnreadableFile,
    UnsupportedFormat,
    UnsupportedMode,
)
from holotype.imaging.decode import LOCAL, NETWORK, Header, ImagePolicy, decode, read_header

Array = NDArray[Any]
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (11, 14), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (11, 14, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (11, 14), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (11, 14), dtype=np.uint16)
ORIENTATION = 0x0112


def encoded(image: PillowImage.Image | Array, format: str, **options: Any) -> bytes:
    image = PillowImage.fromarray(image) if isinstance(image, np.ndarray) else image.copy()
    if "append_images" in options:  # copies, since Pillow keeps an encoder's settings on them
        options["append_images"] = [further.copy() for further in options["append_images"]]
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG by the specification; `rows` are packed rows without their filter bytes."""
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[r * stride : (r + 1) * stride] for r in range(height))
    extra = b"".join(chunk(name.encode(), body) for name, body in chunks.items())
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(filtered))
        + chunk(b"IEND", b"")
    )


def packed(levels: Array, bits: int) -> bytes:
    """Rows of 1, 2 or 4 bits a pixel; the width must fill whole bytes."""
    planes = (levels[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(len(levels), -1).astype(np.uint8), axis=1).tobytes()


def tiff_of_12_bits(levels: Array) -> bytes:
    height, width = levels.shape
    pairs = levels.reshape(-1, 2).astype(np.uint32)
    words = (pairs[:, 0] << 12) | pairs[:, 1]
    data = b"".join(int(word).to_bytes(3, "big") for word in words)
    entries = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    entries += [(278, height), (279, len(data))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0\0\0\0"


def cmyk_to_rgb(cmyk: Array) -> Array:
    ink = cmyk.astype(float)
    return np.asarray((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255)


def be(levels: Array) -> bytes:
    return np.asarray(levels, ">u2").tobytes()


SIZE = (14, 11)
TWO_BITS, FOUR_BITS = GREY[:, :12] >> 6, GREY[:, :12] >> 4
PALETTE = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
PALETTE_ALPHA = RNG.integers(0, 255, 16, dtype=np.uint8)
CMYK = RNG.integers(0, 256, (11, 14, 4), dtype=np.uint8)
DEEP_COLOUR = RNG.integers(0, 65536, (11, 14, 3), dtype=np.uint16)
RGBA = np.dstack([COLOUR, ALPHA])
PALETTED = PillowImage.fromarray(FOUR_BITS)
PALETTED.putpalette(PALETTE.tobytes())

# name: bytes, expected pixels, expected mask, tolerance in levels
EXACT: dict[str, tuple[bytes, Array, Array | None, int]] = {
    "grey PNG": (png(SIZE, 8, 0, GREY.tobytes()), GREY, None, 0),
    "grey TIFF": (encoded(GREY, "TIFF"), GREY, None, 0),
    "grey BMP": (encoded(GREY, "BMP"), GREY, None, 0),
    "grey GIF": (encoded(GREY, "GIF", optimize=False), GREY, None, 0),
    "1-bit PNG": (
        png((8, 11), 1, 0, packed(GREY[:, :8] >> 7, 1)),
        255 * (GREY[:, :8] >> 7),
        None,
        0,
    ),
    "1-bit group 4 TIFF": (
        encoded(PillowImage.fromarray(GREY > 99), "TIFF", compression="group4"),
        np.where(GREY > 99, 255, 0),
        None,
        0,
    ),
    "2-bit PNG": (png((12, 11), 2, 0, packed(TWO_BITS, 2)), 85 * TWO_BITS, None, 0),
    "4-bit PNG": (png((12, 11), 4, 0, packed(FOUR_BITS, 4)), 17 * FOUR_BITS, None, 0),
    "16-bit grey PNG": (png(SIZE, 16, 0, be(DEEP)), np.rint(DEEP / 257), None, 0),
    "16-bit grey TIFF": (encoded(DEEP, "TIFF"), np.rint(DEEP / 257), None, 0),
    "16-bit big-endian TIFF": (
        encoded(PillowImage.frombytes("I;16B", SIZE, be(DEEP)), "TIFF"),
        np.rint(DEEP / 257),
        None,
        0,
    ),
    "12-bit TIFF": (tiff_of_12_bits(DEEP >> 4), np.rint((DEEP >> 4) * (255 / 4095)), None, 0),
    "RGB PNG": (png(SIZE, 8, 2, COLOUR.tobytes()), COLOUR, None, 0),
    "RGB WebP": (encoded(COLOUR, "WEBP", lossless=True), COLOUR, None, 0),
    "RGB BMP": (encoded(COLOUR, "BMP"), COLOUR, None, 0),
    "RGB TIFF": (encoded(COLOUR, "TIFF"), COLOUR, None, 0),
    "LZW TIFF": (encoded(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR, None, 0),
    "16-bit RGB PNG": (png(SIZE, 16, 2, be(DEEP_COLOUR)), np.rint(DEEP_COLOUR / 257), None, 1),
    "RGBA PNG": (png(SIZE, 8, 6, RGBA.tobytes()), COLOUR, ALPHA, 0),
    "RGBA WebP": (encoded(RGBA, "WEBP", lossless=True, exact=True), COLOUR, ALPHA, 0),
    "RGBA TIFF": (encoded(RGBA, "TIFF"), COLOUR, ALPHA, 0),
    "opaque RGBA PNG": (
        png(SIZE, 8, 6, np.dstack([COLOUR, np.full_like(ALPHA, 255)]).tobytes()),
        COLOUR,
        None,
        0,
    ),
    "16-bit RGBA PNG": (
        png(SIZE, 16, 6, be(np.dstack([DEEP_COLOUR, DEEP]))),
        np.rint(DEEP_COLOUR / 257),
        np.rint(DEEP / 257),
        1,
    ),
    "grey+alpha PNG": (png(SIZE, 8, 4, np.dstack([GREY, ALPHA]).tobytes()), GREY, ALPHA, 0),
    "16-bit grey+alpha PNG": (
        png(SIZE, 16, 4, be(np.dstack([DEEP, DEEP[::-1]]))),
        np.rint(np.dstack([DEEP] * 3) / 257),
        np.rint(DEEP[::-1] / 257),
        1,
    ),
    "palette PNG": (
        png((12, 11), 4, 3, packed(FOUR_BITS, 4), PLTE=PALETTE.tobytes()),
        PALETTE[FOUR_BITS],
        None,
        0,
    ),
    "palette PNG with alphas": (
        png(
            (12, 11),
            4,
            3,
            packed(FOUR_BITS, 4),
            PLTE=PALETTE.tobytes(),
            tRNS=PALETTE_ALPHA.tobytes(),
        ),
        PALETTE[FOUR_BITS],
        PALETTE_ALPHA[FOUR_BITS],
        0,
    ),
    "palette GIF with a transparent entry": (
        encoded(PALETTED, "GIF", transparency=5, optimize=False),
        PALETTE[FOUR_BITS],
        np.where(FOUR_BITS == 5, 0, 255),
        0,
    ),
    "palette TIFF": (encoded(PALETTED, "TIFF"), PALETTE[FOUR_BITS], None, 0),
    "palette BMP": (encoded(PALETTED, "BMP"), PALETTE[FOUR_BITS], None, 0),
    "1-bit tRNS": (
        png((8, 11), 1, 0, packed(GREY[:, :8] >> 7, 1), tRNS=b"\0\1"),
        255 * (GREY[:, :8] >> 7),
        np.where(GREY[:, :8] >> 7 == 1, 0, 255),
        0,
    ),
    "2-bit tRNS": (
        png((12, 11), 2, 0, packed(TWO_BITS, 2), tRNS=b"\0\2"),
        85 * TWO_BITS,
        np.where(TWO_BITS == 2, 0, 255),
        0,
    ),
    "4-bit tRNS": (
        png((12, 11), 4, 0, packed(FOUR_BITS, 4), tRNS=b"\0\x09"),
        17 * FOUR_BITS,
        np.where(FOUR_BITS == 9, 0, 255),
        0,
    ),
    "8-bit grey tRNS": (
        png(SIZE, 8, 0, GREY.tobytes(), tRNS=bytes([0, GREY[3, 4]])),
        GREY,
        np.where(GREY[3, 4] == GREY, 0, 255),
        0,
    ),
    "16-bit grey tRNS": (
        png(SIZE, 16, 0, be(DEEP), tRNS=be(DEEP[3, 4])),
        np.rint(DEEP / 257),
        np.where(DEEP[3, 4] == DEEP, 0, 255),
        0,
    ),
    "RGB tRNS": (
        png(SIZE, 8, 2, COLOUR.tobytes(), tRNS=be(COLOUR[3, 4])),
        COLOUR,
        np.where((COLOUR[3, 4] == COLOUR).all(2), 0, 255),
        0,
    ),
    "16-bit RGB tRNS": (
        png(SIZE, 16, 2, be(DEEP_COLOUR), tRNS=be(DEEP_COLOUR[3, 4])),
        np.rint(DEEP_COLOUR / 257),
        np.where((DEEP_COLOUR[3, 4] == DEEP_COLOUR).all(2), 0, 255),
        1,
    ),
    "CMYK TIFF": (
        encoded(PillowImage.frombytes("CMYK", SIZE, CMYK.tobytes()), "TIFF"),
        cmyk_to_rgb(CMYK),
        None,
        1,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_kind_of_pixel_becomes_grey_or_rgb_with_its_alpha_beside_it(name: str) -> None:
    content, pixels, mask, tolerance = EXACT[name]
    image = decode(content)
    assert image.pixels.mode == ("L" if pixels.ndim == 2 else "RGB")
    assert np.abs(np.asarray(image.pixels, float) - pixels).max() <= tolerance
    assert (image.mask is None) == (mask is None)
    if mask is not None and image.mask is not None:
        assert image.mask.mode == "L"
        assert np.abs(np.asarray(image.mask, float) - mask).max() <= tolerance
    assert image.stored_size == pixels.shape[1::-1]
    assert image.warnings == ()


@pytest.mark.parametrize("name", EXACT)
def test_the_header_tells_what_the_decoder_finds(name: str, tmp_path: Path) -> None:
    content = EXACT[name][0]
    (tmp_path / "a").write_bytes(content)
    image = decode(content)
    assert read_header(tmp_path / "a") == Header(
        *image.stored_size, image.format, image.mode, image.warnings
    )


def flat_blocks(bands: int) -> Array:
    """16 x 16 pixels of one colour each, so that JPEG changes them little."""
    colours = np.random.default_rng(3).integers(30, 226, (3, 4, bands), dtype=np.uint8)
    return np.kron(colours, np.ones((16, 16, 1), np.uint8))


def test_cmyk_jpegs_are_inverted_as_adobe_writes_them() -> None:
    cmyk = flat_blocks(4)
    stored = PillowImage.frombytes("CMYK", (64, 48), cmyk.tobytes())
    image = decode(encoded(stored, "JPEG", quality=95, subsampling=0))
    assert image.mode == "CMYK"
    assert np.abs(np.asarray(image.pixels, float) - cmyk_to_rgb(cmyk)).max() <= 5


def test_ycck_jpegs_are_read_as_ycck() -> None:
    inks = flat_blocks(4)
    stored = PillowImage.frombytes("CMYK", (64, 48), inks.tobytes())
    content = bytearray(encoded(stored, "JPEG", quality=95, subsampling=0))
    transform = content.index(b"Adobe") + 11
    assert content[transform] == 0
    content[transform] = 2  # from now on the four bands mean Y, Cb, Cr and K, all inverted
    y, cb, cr = (255 - inks[..., band].astype(float) for band in range(3))
    red, green = y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    rgb = np.stack([red, green, y + 1.772 * (cb - 128)], axis=2).clip(0, 255)
    cmyk = np.dstack([rgb, inks[..., 3:]])
    image = decode(bytes(content))
    assert np.abs(np.asarray(image.pixels, float) - cmyk_to_rgb(cmyk)).max() <= 6


def lab_to_srgb(lab_NC: Array) -> Array:
    """CIE 15 for D50, Bradford to D65, IEC 61966-2-1: 0 to 255."""
    y = (lab_NC[:, 0] + 16) / 116
    f = np.stack([y + lab_NC[:, 1] / 500, y, y - lab_NC[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    to_linear = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = (xyz @ to_linear.T).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * curved)


def test_lab_tiffs_become_srgb() -> None:
    colours = np.array([[60, 20, 30], [40, -20, 10], [70, 5, -30], [90, 0, 0]], float)
    levels = np.column_stack([colours[:, 0] * 2.55, colours[:, 1:] % 256]).round()
    stored = PillowImage.frombytes("LAB", (4, 1), levels.astype(np.uint8).tobytes())
    image = decode(encoded(stored, "TIFF"))
    assert image.mode == "LAB"
    assert np.abs(np.asarray(image.pixels, float)[0] - lab_to_srgb(colours)).max() <= 2


def test_jpeg_inside_tiff_becomes_rgb() -> None:
    blocks = flat_blocks(3)
    image = decode(encoded(blocks, "TIFF", compression="jpeg", quality=95))
    assert np.abs(np.asarray(image.pixels, float) - blocks).max() <= 8


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_refused_with_advice(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "ct.tif"
    PillowImage.fromarray(GREY).convert(mode).save(path)
    with pytest.raises(
        UnsupportedMode, match=r"unknown range; scale it to (unsigned )?8 or 16 bits"
    ):
        decode(path)
    assert read_header(path).mode == mode


# EXIF 2.3, tag Orientation: where the stored 0th row and 0th column lie in the upright image.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def as_stored(upright: Array, orientation: int) -> Array:
    """The array in the file, pixel by pixel from the words of the standard."""
    row_side, column_side = SIDES[orientation]
    turned = row_side in ("left", "right")
    rows, columns = upright.shape[1::-1] if turned else upright.shape[:2]
    stored = np.empty((rows, columns, *upright.shape[2:]), upright.dtype)
    for r in range(rows):
        for c in range(columns):
            along_row = rows - 1 - r if row_side in ("bottom", "right") else r
            along_column = columns - 1 - c if column_side in ("bottom", "right") else c
            y, x = (along_column, along_row) if turned else (along_row, along_column)
            stored[r, c] = upright[y, x]
    return stored


def exif(orientation: int) -> PillowImage.Exif:
    data = PillowImage.Exif()
    data[ORIENTATION] = orientation
    return data


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})],
)
def test_all_eight_orientations_become_upright(
    format: str, options: dict[str, Any], orientation: int, tmp_path: Path
) -> None:
    stored = as_stored(RGBA, orientation)
    path = tmp_path / "turned"
    path.write_bytes(encoded(stored, format, exif=exif(orientation), **options))
    image = decode(path)
    assert image.mask is not None
    np.testing.assert_array_equal(np.asarray(image.pixels), COLOUR)
    np.testing.assert_array_equal(np.asarray(image.mask), ALPHA)
    assert image.stored_size == image.pixels.size == SIZE
    header = read_header(path)
    assert (header.width, header.height) == SIZE


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("minimum_size", [None, (30, 20)])
def test_turned_jpegs_become_upright_at_any_scale(
    orientation: int, minimum_size: tuple[int, int] | None
) -> None:
    y, x = np.mgrid[:240, :360]
    upright = np.dstack([x * 255 / 359, y * 255 / 239, (x + y) % 360 / 2]).astype(np.uint8)
    stored = as_stored(upright, orientation)
    content = encoded(stored, "JPEG", exif=exif(orientation), quality=95, subsampling=0)
    image = decode(content, minimum_size=minimum_size)
    scale = 360 // image.pixels.width
    assert scale == (1 if minimum_size is None else 8)
    assert image.stored_size == (360, 240)
    expected = upright.reshape(240 // scale, scale, 360 // scale, scale, 3).mean((1, 3))
    assert np.abs(np.asarray(image.pixels, float) - expected)[..., :2].mean() < 2


@pytest.mark.parametrize("shape", [(899, 1203), (1203, 899), (100, 2000), (50, 50)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_reduced_jpeg_is_never_smaller_than_asked(
    shape: tuple[int, int], orientation: int
) -> None:
    stored = np.zeros(shape if orientation == 1 else shape[::-1], np.uint8)
    content = encoded(stored, "JPEG", exif=exif(orientation))
    for minimum in [(10, 10), (150, 100), (100, 150), (300, 1), (51, 49), (5000, 5000)]:
        width, height = decode(content, minimum_size=minimum).pixels.size
        assert width >= min(minimum[0], shape[1])
        assert height >= min(minimum[1], shape[0])


def test_a_broken_exif_block_does_not_cost_the_image() -> None:
    image = decode(encoded(COLOUR, "PNG", exif=b"Exif\0\0II*\0" + b"\xff" * 9))
    np.testing.assert_array_equal(np.asarray(image.pixels), COLOUR)
    unknown = exif(1)
    unknown[ORIENTATION] = 9
    assert decode(encoded(COLOUR, "PNG", exif=unknown)).pixels.size == SIZE


def test_nothing_of_the_files_metadata_travels_on() -> None:
    content = encoded(GREY, "PNG", exif=exif(3), icc_profile=b"profile", transparency=7)
    assert decode(content).pixels.info == {}


SECOND = PillowImage.fromarray(255 - COLOUR)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("MPO", {"quality": 100, "subsampling": 0}),
        ("GIF", {}),
    ],
)
def test_of_several_frames_the_first_is_used_with_a_warning(
    format: str, options: dict[str, Any], tmp_path: Path
) -> None:
    first = PillowImage.fromarray(flat_blocks(3)[:11, :14] if format != "TIFF" else COLOUR)
    path = tmp_path / "frames"
    path.write_bytes(encoded(first, format, save_all=True, append_images=[SECOND], **options))
    for source in (path, path.read_bytes()):
        image = decode(source)
        assert image.format == format
        assert np.abs(np.asarray(image.pixels, float) - np.asarray(first)).max() <= 3
        assert image.warnings == ("the file holds several frames or pages; only the first is used",)


def test_a_policy_without_mpo_reads_such_a_file_as_the_jpeg_that_it_begins_with() -> None:
    content = encoded(COLOUR, "MPO", save_all=True, append_images=[SECOND])
    assert decode(content, policy=NETWORK).format == "JPEG"


# Refusals


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_cut_files_are_refused_wherever_they_are_cut(
    format: str, options: dict[str, Any], grey: bool
) -> None:
    if grey and options.get("compression") == "jpeg":
        options = {}
    content = encoded(flat_blocks(3)[..., 0] if grey else flat_blocks(3), format, **options)
    assert decode(content)
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        with pytest.raises((TruncatedImage, NotAnImage)):
            decode(content[: max(1, int(share * len(content)))])
    with pytest.raises(TruncatedImage):
        decode(content[: len(content) // 2], name="half")


def test_a_jpeg_cut_at_one_percent_is_called_truncated_and_not_alien() -> None:
    content = encoded(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8), "JPEG")
    for share in (0.01, 0.5, 0.99):
        with pytest.raises(TruncatedImage, match="cut off"):
            decode(content[: int(share * len(content))])


def test_what_is_no_image_is_refused_by_its_own_name(tmp_path: Path) -> None:
    def refused(path: Path, kind: type[ImageError], words: str) -> None:
        for read in (decode, read_header):
            with pytest.raises(kind, match=words) as caught:
                read(path)
            assert caught.value.file == str(path)
            assert caught.value.reason
            assert caught.value.advice

    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", EmptyFile, "0 bytes")
    (tmp_path / "text.jpg").write_text("BMW makes no bitmaps")
    refused(tmp_path / "text.jpg", NotAnImage, "expected JPEG, PNG, WEBP, BMP, GIF, TIFF")
    (tmp_path / "jxl.jpg").write_bytes(b"\xff\x0a" + bytes(99))
    refused(tmp_path / "jxl.jpg", UnsupportedFormat, "JPEG XL is not read here; convert it to JPEG")
    refused(tmp_path / "missing.png", UnreadableFile, "No such file")
    refused(tmp_path, UnreadableFile, "folder")
    refused(tmp_path / ("x" * 300), UnreadableFile, "too long")
    refused(tmp_path / "nul\0.png", UnreadableFile, "null")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", UnreadableFile, "device")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refused(tmp_path / "loop.png", UnreadableFile, "symbolic link")


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(GREY, "PNG"))
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything: let the system say no all the same

        def no(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", no)
    with pytest.raises(UnreadableFile, match="Permission denied"):
        decode(path)


@pytest.mark.parametrize("name", ["🦕 jaw.png", "two\nlines.png", "a'b\"c.png", "ü" * 125 + ".png"])
def test_any_file_name_is_read_and_named_on_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(GREY, "PNG"))
    np.testing.assert_array_equal(np.asarray(decode(path).pixels), GREY)
    path.write_bytes(b"nothing")
    with pytest.raises(NotAnImage) as caught:
        decode(path)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)


def test_an_image_that_memory_cannot_hold_is_refused_as_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_memory)
    with pytest.raises(TooManyPixels, match="more memory than there is"):
        decode(encoded(GREY, "BMP"))


def test_the_network_policy_lets_in_three_formats_and_fewer_pixels() -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        assert decode(encoded(COLOUR, format), policy=NETWORK).format == format
    for format in ("BMP", "GIF", "TIFF"):
        with pytest.raises(UnsupportedFormat, match=f"{format} is not read here"):
            decode(encoded(COLOUR, format), policy=NETWORK)
    assert NETWORK.max_pixels < LOCAL.max_pixels


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_cap_holds_for_every_format(format: str) -> None:
    content = encoded(COLOUR, format)
    assert decode(content, policy=ImagePolicy((format,), 154))
    with pytest.raises(TooManyPixels, match="14 x 11 pixels are more than the 153"):
        decode(content, policy=ImagePolicy((format,), 153))


def test_a_side_may_not_be_longer_than_the_policy_says() -> None:
    content = encoded(np.zeros((1, 100_001), np.uint8), "PNG")
    with pytest.raises(TooManyPixels, match="100001 x 1 pixels have a side above the 100,000"):
        decode(content)
    assert decode(encoded(np.zeros((1, 100_000), np.uint8), "PNG")).stored_size == (100_000, 1)


IN_A_CHILD = """
import resource, sys, time, warnings
from pathlib import Path
from holotype.errors import ImageError
from holotype.imaging.decode import decode, read_header
warnings.simplefilter("error")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, started = peak(), time.perf_counter()
for read in (decode, read_header):
    try:
        read(Path(sys.argv[1]))
    except ImageError as refusal:
        print(type(refusal).__name__, time.perf_counter() - started, peak() - before)
"""


def huge_png() -> bytes:
    return png((20_000, 20_000), 1, 0, bytes(2500 * 20_000))


def huge_webp(width: int = 16383, height: int = 6000) -> bytes:
    content = bytearray(encoded(COLOUR, "WEBP"))
    assert content[12:16] == b"VP8 "
    content[26:30] = struct.pack("<HH", width, height)
    return bytes(content)


def hugest_webp() -> bytes:
    return huge_webp(16383, 16383)


def huge_gif() -> bytes:
    content = bytearray(encoded(GREY, "GIF"))
    content[6:10] = struct.pack("<HH", 50_000, 50_000)
    return bytes(content)


@pytest.mark.parametrize("make", [huge_png, huge_webp, hugest_webp, huge_gif])
def test_huge_images_are_refused_in_a_second_and_100_megabytes(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "huge"
    path.write_bytes(make())
    child = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD, str(path)], capture_output=True, text=True, check=True
    )
    assert child.stderr == ""
    lines = child.stdout.split("\n")[:2]
    assert len(lines) == 2
    for line in lines:
        kind, seconds, megabytes = line.split()
        assert kind == "TooManyPixels"
        assert float(seconds) < 1
        assert float(megabytes) < 100


# Hostile files


def mutation_seeds() -> dict[str, bytes]:
    smooth = PillowImage.fromarray(COLOUR).resize((40, 30))
    grey, paletted, two = smooth.convert("L"), smooth.convert("P"), [SECOND.resize((40, 30))]
    return {
        "jpeg": encoded(smooth, "JPEG", exif=exif(6)),
        "progressive": encoded(smooth, "JPEG", progressive=True),
        "cmyk": encoded(smooth.convert("CMYK"), "JPEG"),
        "mpo": encoded(smooth, "MPO", save_all=True, append_images=two),
        "png": encoded(smooth, "PNG", exif=exif(6)),
        "png palette": encoded(paletted, "PNG", transparency=3),
        "png 16": encoded(DEEP, "PNG"),
        "png animated": encoded(smooth, "PNG", save_all=True, append_images=two),
        "webp": encoded(smooth, "WEBP", exif=exif(6)),
        "webp lossless": encoded(smooth.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": encoded(smooth, "WEBP", save_all=True, append_images=two),
        "gif": encoded(paletted, "GIF", transparency=1),
        "gif animated": encoded(smooth, "GIF", save_all=True, append_images=two, disposal=2),
        "bmp": encoded(smooth, "BMP"),
        "bmp palette": encoded(paletted, "BMP"),
        "tiff": encoded(smooth, "TIFF", exif=exif(6)),
        "tiff lzw": encoded(smooth, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encoded(smooth, "TIFF", compression="jpeg"),
        "tiff deflate": encoded(smooth.convert("RGBA"), "TIFF", compression="tiff_adobe_deflate"),
        "tiff group 4": encoded(grey.convert("1"), "TIFF", compression="group4"),
        "tiff pages": encoded(smooth, "TIFF", save_all=True, append_images=two),
        "tiff 16": encoded(DEEP, "TIFF"),
    }


def with_true_checksums(content: bytes) -> bytes:
    """A PNG whose broken chunks look whole, so that they are parsed at all."""
    fixed, place = content[:8], 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        if place + 12 + length > len(content):
            break
        fixed += chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length])
        place += 12 + length
    return fixed + content[place:]


def mutated(content: bytes, choose: random.Random) -> bytes:
    extremes = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1")
    changed = bytearray(content)
    for _ in range(choose.choice((1, 1, 2, 4, 12))):
        place = choose.randrange(min(len(changed), choose.choice((64, 300, len(content)))) or 1)
        match choose.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([choose.randrange(256)])
            case 1 | 2:
                changed[place : place + 4] = choose.choice(extremes)
            case 3:
                del changed[place : place + choose.randrange(1, 20)]
            case 4:
                changed[place:place] = changed[place : place + choose.randrange(1, 40)]
            case 5:
                del changed[choose.randrange(len(changed) + 1) :]
    return bytes(changed)


def outcomes_of_mutated_files(count: int, seed: int) -> set[str]:
    choose = random.Random(seed)
    seeds = mutation_seeds()
    outcomes = set()
    for number in range(count):
        name = [*seeds][number % len(seeds)]
        content = mutated(seeds[name], choose)
        if name.startswith("png") and choose.random() < 0.7:
            content = with_true_checksums(content)
        try:
            image = decode(content, minimum_size=choose.choice((None, (10, 10))))
        except ImageError as refusal:
            outcomes.add(type(refusal).__name__)
        else:
            assert image.pixels.mode in ("L", "RGB")
            assert image.mask is None or image.mask.size == image.pixels.size
            outcomes.add("Image")
    return outcomes


def test_broken_files_give_an_image_or_a_refusal_and_nothing_else() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcomes = outcomes_of_mutated_files(660, seed=1)
    assert not caught
    assert outcomes >= {"Image", "TruncatedImage", "NotAnImage", "TooManyPixels", "UnsupportedMode"}


@pytest.mark.slow
def test_thousands_of_broken_files_give_an_image_or_a_refusal_and_nothing_else() -> None:
    assert "Image" in outcomes_of_mutated_files(5000, seed=2)


def test_threads_decode_alike_and_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    seeds = mutation_seeds()
    truncated_tiff = seeds["tiff pages"][:-40]  # Pillow warns about its directory
    paths = []
    for number, content in enumerate([*seeds.values(), truncated_tiff] * 6):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(content)

    def look(path: Path) -> str:
        try:
            return str(zlib.crc32(decode(path).pixels.tobytes()))
        except ImageError as refusal:
            return refusal.problem

    one_by_one = [look(path) for path in paths]
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as threads:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        assert list(threads.map(look, paths)) == one_by_one
        assert list(warnings.filters) == before
    assert not caught
    assert len(set(one_by_one)) > 10


def test_decoding_does_not_make_python_repeat_the_warnings_of_others() -> None:
    content = encoded(GREY, "PNG")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            decode(content)
            warnings.warn("said once for each line", UserWarning, stacklevel=1)
    assert len(caught) == 1


def test_decoding_costs_little_more_than_bare_pillow(tmp_path: Path) -> None:
    path = tmp_path / "cell.png"
    levels = np.random.default_rng(1).normal(120, 20, (300, 300)).clip(0, 255)
    PillowImage.fromarray(levels.astype(np.uint8)).save(path)

    def bare() -> None:
        with PillowImage.open(path) as image:
            image.load()

    def best_of(work: Callable[[], object]) -> float:
        times = []
        for _ in range(40):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return min(times)

    assert best_of(lambda: decode(path)) < 2.5 * best_of(bare)
