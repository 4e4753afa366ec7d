"""Files that are cut off, read as far as they go: the oracle is Pillow with its own flag set."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFile

from holotype.errors import CorruptBundle, ImageError, TruncatedImage
from holotype.imaging.decode import decode
from holotype.imaging.image_warnings import truncated_images, truncated_note
from holotype.imaging.preprocessing import Preprocessing
from holotype.imaging.truncated_images import CUT_OFF

RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
ALPHA = np.dstack([COLOUR, np.full(GREY.shape, 200, np.uint8)])
DEEP = RNG.integers(0, 65536, (64, 96), dtype=np.uint16)
PLAIN = Preprocessing(8, 8, "squash", "bilinear", (0, 0, 0), (1, 1, 1))


def encoded(pixels: NDArray[Any], format: str, **options: Any) -> bytes:
    content = io.BytesIO()
    PillowImage.fromarray(pixels).save(content, format, **options)
    return content.getvalue()


FILES = {
    "jpeg": encoded(COLOUR, "JPEG"),
    "jpeg grey": encoded(GREY, "JPEG"),
    "jpeg progressive": encoded(COLOUR, "JPEG", progressive=True),
    "png": encoded(COLOUR, "PNG"),
    "png grey": encoded(GREY, "PNG"),
    "png alpha": encoded(ALPHA, "PNG"),
    "gif": encoded(GREY, "GIF"),
    "bmp": encoded(COLOUR, "BMP"),
    "tiff": encoded(COLOUR, "TIFF"),
    "ppm": encoded(COLOUR, "PPM"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.99])
def test_what_is_read_of_a_cut_file_is_what_pillow_reads_with_its_flag(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = FILES[name][: int(share * len(FILES[name]))]
    try:
        found = decode(cut, tolerate_truncated=True)
    except TruncatedImage:  # a TIFF whose directory is at its end
        assert name == "tiff"
        return
    assert found.warnings == (CUT_OFF,)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    theirs = PillowImage.open(io.BytesIO(cut))
    theirs.load()
    if theirs.mode == "RGBA":
        assert found.mask is not None
        mask = np.asarray(found.mask)
        assert np.array_equal(mask, np.asarray(theirs.getchannel("A")))
    assert np.array_equal(np.asarray(found.pixels), np.asarray(theirs.convert(found.pixels.mode)))


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_read_the_same_and_nothing_is_said(name: str) -> None:
    strict, tolerant = (decode(FILES[name], tolerate_truncated=how) for how in (False, True))
    assert np.array_equal(np.asarray(strict.pixels), np.asarray(tolerant.pixels))
    assert strict.warnings == tolerant.warnings == ()


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_the_first_rows_are_those_of_the_whole_file(name: str) -> None:
    cut = FILES[name][: len(FILES[name]) * 3 // 4]
    whole, part = (np.asarray(decode(content, tolerate_truncated=True).pixels)
                   for content in (FILES[name], cut))  # fmt: skip
    assert np.array_equal(part[:16], whole[:16])
    assert not np.array_equal(part[-8:], whole[-8:])
    with pytest.raises(TruncatedImage):
        decode(cut)


def test_a_file_without_any_pixel_is_refused_all_the_same() -> None:
    start_of_pixels = FILES["png"].index(b"IDAT") + 8
    for content in (
        FILES["png"][:start_of_pixels],
        FILES["png"][:20],
        FILES["jpeg"][:100],
        b"",
    ):
        with pytest.raises(ImageError):
            decode(content, tolerate_truncated=True)


@pytest.mark.parametrize("name", FILES)
def test_cut_anywhere_it_is_an_image_or_one_refusal(name: str) -> None:
    content = FILES[name]
    outcomes = set()
    for length in RNG.integers(1, len(content), 60).tolist():
        try:
            outcomes.add(decode(content[:length], tolerate_truncated=True).pixels.size)
        except ImageError as refusal:
            outcomes.add(type(refusal).__name__)
    assert outcomes <= {(96, 64), "TruncatedImage", "NotAnImage"}


def test_16_bits_of_colour_are_read_as_far_as_they_go() -> None:
    content = _png_of_16_bits()
    whole = np.asarray(decode(content, bits=12).pixels)
    part = np.asarray(decode(content[:-2000], bits=12, tolerate_truncated=True).pixels)
    assert np.array_equal(part[:20], whole[:20])
    assert (part[-1] == 0).all()


def _png_of_16_bits() -> bytes:
    import struct
    import zlib

    rows = (DEEP[..., None] % 4096).repeat(3, axis=2).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(data)), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def test_other_threads_go_on_refusing() -> None:
    """The flag of Pillow would be seen by all of them."""
    cut = FILES["png"][:-3000]

    def read(number: int) -> bool:
        try:
            return bool(decode(cut, tolerate_truncated=number % 2 == 0))
        except TruncatedImage:
            return False

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, range(200))) == [True, False] * 100
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_preprocessing_reads_the_key_and_knows_bundles_without_it() -> None:
    tolerant = Preprocessing.from_json({**PLAIN.to_json(), "tolerate_truncated": True})
    cut = FILES["jpeg"][:-1000]
    assert tolerant.load(cut).shape == (3, 8, 8)
    with pytest.raises(TruncatedImage):
        PLAIN.load(cut)
    before = {key: value for key, value in PLAIN.to_json().items() if key != "tolerate_truncated"}
    assert Preprocessing.from_json(before) == PLAIN
    assert tolerant.digest() != PLAIN.digest()
    with pytest.raises(CorruptBundle, match="tolerate_truncated must be true or false"):
        Preprocessing.from_json({**before, "tolerate_truncated": 1})


def test_the_sentence_counts_and_names() -> None:
    warnings = {"a.png": ("the file holds several frames or pages", CUT_OFF), "b.png": ("x",)}
    assert truncated_images(warnings) == ["a.png"]
    assert truncated_note(warnings) == [
        "1 image is cut off or damaged, tolerated, and read as far as it goes, what is missing "
        "blank: 'a.png'."
    ]
    assert truncated_note({"b.png": ("x",)}) == []
