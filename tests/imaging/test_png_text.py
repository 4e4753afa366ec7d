"""PNG with more text or a longer profile than Pillow reads are images like any other."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from holotype.imaging.decode import decode, read_header

LEVELS = np.arange(143, dtype=np.uint8).reshape(11, 13)
LONG = "a" * 3_000_000  # Pillow allows 1 MB


def _png(**options: Any) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(LEVELS).save(file, "PNG", **options)
    return file.getvalue()


def _text(*entries: tuple[str, bool]) -> PngInfo:
    info = PngInfo()
    for number, (text, compressed) in enumerate(entries):
        info.add_text(f"key {number}", text, zip=compressed)
    return info


def _international() -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", LONG, zip=True)
    return info


def _behind_the_pixels() -> bytes:
    content, body = _png(), b"key\0\0" + zlib.compress(LONG.encode())
    kind = b"zTXt"
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return content[:-12] + struct.pack(">I", len(body)) + kind + body + checksum + content[-12:]


FILES = {
    "compressed text": lambda: _png(pnginfo=_text((LONG, True))),
    "XMP": lambda: _png(pnginfo=_international()),
    "much text": lambda: _png(pnginfo=_text(*[(LONG[:1_000_000], False)] * 66)),
    "profile": lambda: _png(icc_profile=LONG.encode()),
    "behind the pixels": _behind_the_pixels,
}


@pytest.mark.parametrize("name", FILES)
def test_long_text_does_not_cost_the_image(name: str, tmp_path: Any) -> None:
    content = FILES[name]()
    assert np.array_equal(np.asarray(decode(content).pixels), LEVELS)
    (tmp_path / "a.png").write_bytes(content)
    assert read_header(tmp_path / "a.png").width == 13
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png").pixels), LEVELS)
