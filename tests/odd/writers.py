"""Write images byte by byte or losslessly, so that what they must decode to is known beforehand.

Arrays: H height, W width, S samples.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

Array = NDArray[Any]


def saved(pixels: Array | Image.Image, format: str, **options: Any) -> bytes:
    """By Pillow; `mode` converts first."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels.copy()
    mode = options.pop("mode", None)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def heic(pixels: Array, **options: Any) -> bytes:
    """Lossless, without a conversion to luma and chroma."""
    import pillow_heif

    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[samples] + (";16" if pixels.dtype == np.uint16 else "")
    image = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    file = io.BytesIO()
    image.save(file, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return file.getvalue()


def chunk(kind: str, body: bytes) -> bytes:
    head = kind.encode() + body
    return struct.pack(">I", len(body)) + head + struct.pack(">I", zlib.crc32(head))


def png(
    pixels: Array,
    depth: int,
    colour: int,
    chunks: dict[str, bytes] | None = None,
    adam7: bool = False,
) -> bytes:
    """A PNG by its specification.

    Args:
        pixels: (H, W) or (H, W, S), values below 2**depth.
        colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        chunks: before the pixels, such as PLTE.
    """
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(adam7))
    passes = [pixels]
    if adam7:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2))
        passes = [pixels[y::dy, x::dx] for y, x, dy, dx in (*starts, (0, 1, 2, 2), (1, 0, 2, 1))]
    rows = b"".join(b"\0" + _packed(row, depth) for one in passes if one.size for row in one)
    before = b"".join(chunk(kind, body) for kind, body in (chunks or {}).items())
    end = chunk("IDAT", zlib.compress(rows)) + chunk("IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + before + end


def _packed(row: Array, depth: int) -> bytes:
    if depth >= 8:
        return row.astype(">u2" if depth == 16 else "u1").tobytes()
    bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def tiff(
    values_HWS: Array,
    *,
    photometric: int = 1,
    order: str = "<",
    sample_format: int = 1,
    extra: tuple[int, ...] = (),
    tags: dict[int, int] | None = None,
) -> bytes:
    """One uncompressed strip; the depth is that of the array.

    Args:
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        order: of bytes, `<` or `>`.
        sample_format: 1 unsigned, 2 signed, 3 float.
        extra: kinds of the extra samples.
        tags: further short tags.
    """
    values_HWS = values_HWS if values_HWS.ndim == 3 else values_HWS[:, :, None]
    height, width, samples = values_HWS.shape
    data = values_HWS.astype(values_HWS.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    behind = b""

    def shorts(numbers: list[int]) -> bytes:
        nonlocal behind
        raw = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(raw) <= 4:
            return raw.ljust(4, b"\0")
        behind += raw
        return struct.pack(f"{order}I", 8 + len(data) + len(behind) - len(raw))

    def entry(tag: int, numbers: list[int]) -> bytes:
        return struct.pack(f"{order}HHI", tag, 3, len(numbers)) + shorts(numbers)

    def long(tag: int, number: int) -> bytes:
        return struct.pack(f"{order}HHII", tag, 4, 1, number)

    entries = {
        256: long(256, width), 257: long(257, height), 273: long(273, 8), 278: long(278, height),
        279: long(279, len(data)), 258: entry(258, [8 * values_HWS.itemsize] * samples),
        262: entry(262, [photometric]), 277: entry(277, [samples]),
        339: entry(339, [sample_format] * samples),
        **({338: entry(338, list(extra))} if extra else {}),
        **{tag: entry(tag, [value]) for tag, value in (tags or {}).items()},
    }  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    directory += b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8 + len(data) + len(behind)) + data + behind + directory


def tiff_with(pixels: Array, compression: str | None = None, **tags: Any) -> bytes:
    """By Pillow, with tags such as `orientation=6`."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    if "orientation" in tags:
        info[274] = tags["orientation"]
    return saved(pixels, "TIFF", compression=compression, tiffinfo=info)


def oriented(pixels: Array, orientation: int) -> Array:
    """What is stored so that a reader which obeys the EXIF orientation shows `pixels`."""
    turns = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 8: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    }  # fmt: skip
    return np.ascontiguousarray(turns[orientation](pixels))


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def on_white(rgba: Array) -> Array:
    """RGBA or grey with alpha, 8 bits, laid onto white."""
    alpha = rgba[..., -1:].astype(float) / 255
    flat = rgba[..., :-1] * alpha + 255 * (1 - alpha)
    return flat[..., 0] if flat.shape[-1] == 1 else flat
