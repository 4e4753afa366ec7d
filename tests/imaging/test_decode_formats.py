"""HEIC, JPEG 2000 and PPM: pixels that are known beforehand, written losslessly or by hand."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import ImageError, TruncatedImage, UnsupportedFormat
from holotype.imaging.decode import decode, read_header

Array = NDArray[Any]
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (48, 64), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (48, 64), dtype=np.uint16)
ALPHA = np.where(GREY > 99, GREY, 0)
pillow_heif = pytest.importorskip("pillow_heif")


def heic(pixels: Array, **options: Any) -> bytes:
    """Lossless: RGB is not converted to luma and chroma."""
    mode = {2: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2] if pixels.ndim == 3 else 2]
    image = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    file = io.BytesIO()
    image.save(file, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return file.getvalue()


def jpeg2000(pixels: Array) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "JPEG2000", irreversible=False)
    return file.getvalue()


def pnm(kind: str, levels: Array, largest: int) -> bytes:
    header = f"{kind}\n# a comment\n{levels.shape[1]} {levels.shape[0]}\n{largest}\n".encode()
    if kind in ("P2", "P3"):
        return header + " ".join(map(str, levels.ravel().tolist())).encode()
    return header + levels.astype("u1" if largest < 256 else ">u2").tobytes()


@pytest.mark.parametrize(
    ("content", "expected", "tolerance"),
    [
        pytest.param(heic(GREY), GREY, 0, id="HEIC grey"),
        pytest.param(heic(COLOUR), COLOUR, 0, id="HEIC colour"),
        pytest.param(heic(np.dstack([COLOUR, ALPHA])), COLOUR, 0, id="HEIC alpha"),
        pytest.param(jpeg2000(GREY), GREY, 0, id="JPEG 2000 grey"),
        pytest.param(jpeg2000(COLOUR), COLOUR, 0, id="JPEG 2000 colour"),
        pytest.param(jpeg2000(np.dstack([COLOUR, ALPHA])), COLOUR, 0, id="JPEG 2000 alpha"),
        pytest.param(jpeg2000(DEEP), np.rint(DEEP / 257), 0, id="JPEG 2000 of 16 bits"),
        pytest.param(pnm("P5", GREY, 255), GREY, 0, id="PGM"),
        pytest.param(pnm("P2", GREY, 255), GREY, 0, id="PGM in text"),
        pytest.param(pnm("P5", GREY >> 4, 15), 17 * (GREY >> 4), 0, id="PGM of 4 bits"),
        pytest.param(pnm("P5", DEEP, 65535), np.rint(DEEP / 257), 0, id="PGM of 16 bits"),
        pytest.param(
            pnm("P5", DEEP >> 4, 4095), np.rint((DEEP >> 4) * (255 / 4095)), 0, id="PGM of 12 bits"
        ),
        pytest.param(pnm("P6", COLOUR, 255), COLOUR, 0, id="PPM"),
        pytest.param(pnm("P3", COLOUR, 255), COLOUR, 0, id="PPM in text"),
        pytest.param(
            pnm("P6", COLOUR.astype(int) * 16, 4095),
            COLOUR * (16 * 255 / 4095),
            1,
            id="PPM 12 bits",
        ),
    ],
)
def test_formats_are_read_exactly(content: bytes, expected: Array, tolerance: int) -> None:
    image = decode(content)
    assert image.pixels.mode == ("RGB" if expected.ndim == 3 else "L")
    assert np.abs(np.asarray(image.pixels, float) - expected).max() <= tolerance
    assert image.warnings == ()


@pytest.mark.parametrize("encode", [heic, jpeg2000])
def test_alpha_stays_beside_the_pixels(encode: Any) -> None:
    mask = decode(encode(np.dstack([COLOUR, ALPHA]))).mask
    assert mask is not None
    assert np.array_equal(np.asarray(mask), ALPHA)


def test_heic_turned_by_its_header_is_upright(tmp_path: Path) -> None:
    """A phone writes its pixels as the sensor lies and the turn into the container."""
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.heic").write_bytes(heic(COLOUR, exif=exif.tobytes()))
    (tmp_path / "plain.heic").write_bytes(heic(COLOUR))
    plain = np.asarray(decode(tmp_path / "plain.heic").pixels)
    turned = decode(tmp_path / "turned.heic")
    header = read_header(tmp_path / "turned.heic")
    assert turned.stored_size == turned.pixels.size == (header.width, header.height)
    assert any(
        np.array_equal(np.asarray(turned.pixels), np.rot90(plain, quarters)) for quarters in (0, 3)
    )


def test_the_first_of_several_heic_images_is_used_and_that_is_said() -> None:
    several = pillow_heif.from_bytes("RGB", (64, 48), COLOUR.tobytes())
    several.add_frombytes("RGB", (64, 48), (255 - COLOUR).tobytes())
    file = io.BytesIO()
    several.save(file, quality=-1, chroma=444, matrix_coefficients=0)
    image = decode(file.getvalue())
    assert np.array_equal(np.asarray(image.pixels), COLOUR)
    assert image.warnings == ("the file holds several frames or pages; only the first is used",)


def test_without_its_package_heic_is_refused_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedFormat) as refused:
        decode(heic(GREY), name="IMG_1.HEIC")
    assert "HEIC is read by the package pillow-heif" in refused.value.reason
    assert "run pip install 'holotype[heic]', or convert it to JPEG" in refused.value.advice


@pytest.mark.parametrize("encode", [heic, jpeg2000, lambda pixels: pnm("P6", pixels, 255)])
def test_what_is_cut_off_is_refused(encode: Any) -> None:
    content = encode(COLOUR)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(TruncatedImage):
            decode(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "content", [heic(COLOUR), jpeg2000(COLOUR), pnm("P6", COLOUR, 255), pnm("P2", GREY, 255)]
)
def test_altered_bytes_give_an_image_or_a_typed_refusal(content: bytes) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        altered = bytearray(content)
        for place in rng.integers(0, min(len(content), 400), 4):
            altered[place] = rng.integers(256)
        try:
            decode(bytes(altered))
        except ImageError:
            continue
