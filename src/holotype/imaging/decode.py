"""Decode a file or bytes into one upright 8-bit image, or raise an `ImageError`; the only decoder.

Pillow reads the files. Added to it: the format is told by the first bytes and opened by that one
plugin (no other parser sees the file), the pixel limit is checked before decoding, pixels of every
mode become 8-bit grey or RGB with a separate alpha, and whatever a broken file makes Pillow raise
becomes one `ImageError` that says what to do.

Not covered: colour management. An embedded ICC profile is ignored, so that the levels in the file
are those that a model sees, as in nearly all training pipelines; convert wide-gamut images to sRGB
beforehand if that matters.

Arrays: H height, W width, C the three channels.
"""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
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
from holotype.imaging.image_formats import HEAD_BYTES, format_of, unread_extension
from holotype.imaging.out_of_memory import refused_where_memory_ends
from holotype.imaging.pillow_warnings import pillow_warnings_ignored
from holotype.imaging.pixels import largest_of_16_bits, to_eight_bits
from holotype.imaging.png_text import is_about_text, without_text
from holotype.imaging.tiff_tags import is_white_zero, refuse_signed, unused_bands


@dataclass(frozen=True, eq=False)
class Image:
    """One upright image of 8 bits a channel.

    Attributes:
        pixels: a Pillow image of mode ``L`` (grey) or ``RGB``; never any other mode.
        mask: a Pillow image of mode ``L`` with the alpha (0 transparent, 255 opaque), or None.
        format: the file's format as Pillow names it, such as ``JPEG``.
        mode: the mode that the file was stored in, such as ``CMYK`` or ``I;16``.
        stored_size: width and height in the file, after turning it upright.
        warnings: what was ignored, such as the other frames of an animation.
        largest: the largest value of 16 bits, which colour holds at most; 0 for other depths.
    """

    pixels: PillowImage.Image
    mask: PillowImage.Image | None
    format: str
    mode: str
    stored_size: tuple[int, int]
    warnings: tuple[str, ...] = ()
    largest: int = 0


@dataclass(frozen=True)
class Header:
    """Upright size, format, stored mode and warnings of a file, from its header."""

    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImagePolicy:
    """Which images are accepted.

    Attributes:
        formats: as Pillow names them.
        max_pixels: width times height; more is refused before a pixel is decoded.
        max_side: width or height; a longer one is refused, since resizing it takes gigabytes.
    """

    formats: tuple[str, ...]
    max_pixels: int
    max_side: int = 100_000


# For local files. The limit is Pillow's own for decompression bombs: 0.25 GiB of RGB, above the
# images of any camera.
LOCAL = ImagePolicy(("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"), 89_478_485)

# For bytes from the network: the three formats of the web, whose decoders are fuzzed most, and at
# most 25 megapixels, since several are decoded at once.
NETWORK = ImagePolicy(("JPEG", "PNG", "WEBP"), 25_000_000)


# What Pillow raises on broken or hostile files, collected from its plugins and by fuzzing. Little
# else runs where these are caught, so they tell of the file and not of our own code.
_BROKEN = (
    OSError,  # truncated data, and errors of the C decoders
    SyntaxError,  # Pillow's own "this is not my format" and "broken header"
    ValueError,  # sizes and chunks out of range, text that is no Unicode
    TypeError,  # a field of the wrong type or of zero length
    AttributeError,  # a field that should have come earlier in the file
    AssertionError,  # inconsistent headers
    RuntimeError,  # rare variants that are not implemented, codecs in a wrong state
    LookupError,  # IndexError and KeyError: offsets and tags that are not there
    ArithmeticError,  # OverflowError and ZeroDivisionError: absurd sizes and rationals
    EOFError,  # no first frame
    struct.error,  # a field cut short
    zlib.error,  # compressed chunks of PNG
)

Result = TypeVar("Result")

_EXIF_TRANSPOSES = {  # EXIF orientation -> what makes the image upright
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}

_ADVICE_COPY_AGAIN = "copy or export it again"
_ADVICE_SCALE_DOWN = "scale it down, or cut it into tiles"

_PLUGINS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}


def decode(
    source: Path | bytes,
    *,
    name: str | None = None,
    minimum_size: tuple[int, int] | None = None,
    policy: ImagePolicy = LOCAL,
) -> Image:
    """One upright image, 8 bits a channel, with a separate alpha.

    Grey stays grey (``L``); everything else becomes ``RGB``. 16-bit grey is divided by 257 and
    rounded, never stretched; 16-bit colour is cut to its high byte by Pillow, which is within
    one level of that. Of several frames or pages the first is used, of more bands than grey or
    RGB the first ones, and a warning says so. EXIF orientation is applied; ICC profiles are
    ignored.

    Args:
        source: a file, or a file's bytes.
        name: in errors; the path unless given.
        minimum_size: (width, height) that the caller needs at least. A JPEG may then be decoded
            at 1/2, 1/4 or 1/8 of its size, in a fraction of the time; never below this size.
        policy: which formats and how many pixels are accepted.

    Raises:
        ImageError: one of its kinds, whatever is wrong with the file.
    """
    if minimum_size is not None and min(minimum_size) < 1:
        raise ValueError(f"minimum_size must be at least 1 x 1, not {minimum_size}")
    own_name = f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)
    file = own_name if name is None else name
    return _read(source, file, lambda stream: _decode(stream, file, minimum_size, policy))


def _decode(
    stream: BinaryIO, file: str, minimum_size: tuple[int, int] | None, policy: ImagePolicy
) -> Image:
    plugin = _open(stream, file, policy)
    width, height = _checked_size(plugin, file, policy)
    refuse_signed(plugin, file)
    notes = _warnings(plugin)
    if minimum_size is not None and isinstance(plugin, JpegImagePlugin.JpegImageFile):
        turned = _orientation(plugin) >= 5
        plugin.draft(None, minimum_size[::-1] if turned else minimum_size)
    stored_mode, raw_mode = plugin.mode, _raw_mode(plugin)
    first_block = plugin.tile[0].offset if plugin.tile else 0
    plugin.load()
    _check_end(plugin, stream, first_block, file)
    orientation = _orientation(plugin)
    pixels, mask = to_eight_bits(plugin, raw_mode, file, white_is_zero=is_white_zero(plugin))
    largest = largest_of_16_bits(plugin, raw_mode, white_is_zero=is_white_zero(plugin))
    turn = _EXIF_TRANSPOSES.get(orientation)
    if turn is not None:
        pixels = pixels.transpose(turn)
        mask = mask.transpose(turn) if mask is not None else None
    pixels.info = {}  # no EXIF, profile or transparency key travels on
    return Image(
        pixels=pixels,
        mask=mask,
        format=plugin.format or "",
        mode=stored_mode,
        stored_size=(height, width) if orientation >= 5 else (width, height),
        warnings=notes,
        largest=largest,
    )


def from_pillow(image: PillowImage.Image, *, name: str) -> Image:
    """A Pillow image of any mode as `decode` would give it; its EXIF orientation is applied.

    Raises:
        ImageError: its pixels cannot be loaded, or their range is not known.
    """
    with _translating_errors(name):
        refuse_signed(image, name)
        upright = ImageOps.exif_transpose(image)
        pixels, mask = to_eight_bits(
            upright, _raw_mode(image), name, white_is_zero=is_white_zero(image)
        )
        pixels.info = {}
        return Image(pixels, mask, image.format or "", image.mode, upright.size)


def read_header(path: Path, *, policy: ImagePolicy = LOCAL) -> Header:
    """Upright size, format and stored mode, without decoding a pixel.

    A PNG whose EXIF data follows its pixels, which is rare, is taken as upright here.

    Raises:
        ImageError: one of its kinds; a file that breaks only later in its pixels passes.
    """
    file = str(path)
    return _read(path, file, lambda stream: _read_header(stream, file, policy))


def _read_header(stream: BinaryIO, file: str, policy: ImagePolicy) -> Header:
    plugin = _open(stream, file, policy)
    width, height = _checked_size(plugin, file, policy)
    if _orientation(plugin) >= 5:
        width, height = height, width
    stored_mode = plugin.mode  # a look for further frames may change it
    return Header(width, height, plugin.format or "", stored_mode, _warnings(plugin))


def _read(source: Path | bytes, file: str, read: Callable[[BinaryIO], Result]) -> Result:
    """What `read` finds; a PNG with more text than Pillow allows is read without its text."""
    with _stream_of(source, file) as stream, _translating_errors(file):
        try:
            return read(stream)
        except ValueError as error:
            if not is_about_text(error):
                raise
            stream.seek(0)
            return read(io.BytesIO(without_text(stream.read())))


@contextmanager
def _stream_of(source: Path | bytes, file: str) -> Iterator[BinaryIO]:
    """The open file, if it is a regular one: a pipe or a device would never end."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):
            raise UnreadableFile(file, "this is a folder or a device", "name a file in it")
        stream = open(source, "rb")  # noqa: SIM115 - closed below, outside this try
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableFile(file, f"it cannot be opened ({reason})", "check the path") from None
    with stream:
        yield stream


@contextmanager
def _translating_errors(file: str) -> Iterator[None]:
    """Whatever Pillow raises on this file becomes an ImageError; its warnings are ignored."""
    try:
        with pillow_warnings_ignored(), refused_where_memory_ends(file):
            yield
    except ImageError:
        raise
    except PillowImage.DecompressionBombError as error:
        raise TooManyPixels(file, str(error).split(",")[0], _ADVICE_SCALE_DOWN) from None
    except _BROKEN as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if "pixel mode" in detail or "cannot handle" in detail:
            reason = f"this kind of pixel is not read ({detail})"
            raise UnsupportedMode(file, reason, "save it with 8 bits a channel") from None
        raise TruncatedImage(
            file, f"it is cut off or damaged ({detail})", _ADVICE_COPY_AGAIN
        ) from None


def _open(stream: BinaryIO, file: str, policy: ImagePolicy) -> ImageFile.ImageFile:
    """Pillow's plugin for the format of the first bytes; no pixel is decoded."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise EmptyFile(file, "it has 0 bytes", _ADVICE_COPY_AGAIN)
    found = format_of(head)
    known = ", ".join(f for f in policy.formats if f != "MPO")
    if extension := unread_extension(file, found):
        reason = f"{extension} is not read here"
        raise UnsupportedFormat(file, reason, f"convert it to {known}")
    if found is None:
        raise NotAnImage(file, "its bytes are of no known image format", f"expected {known}")
    if found not in policy.formats:
        raise UnsupportedFormat(file, f"{found} is not read here", f"convert it to {known}")
    plugin = _PLUGINS[found](stream)
    if found == "JPEG" and "mp" in plugin.info and "MPO" in policy.formats:
        with suppress(*_BROKEN):  # a damaged index of further images costs only those
            stream.seek(0)
            plugin = JpegImagePlugin.jpeg_factory(stream)
    return plugin


def _checked_size(plugin: ImageFile.ImageFile, file: str, policy: ImagePolicy) -> tuple[int, int]:
    width, height = plugin.size
    if max(width, height) > policy.max_side:
        raise TooManyPixels(
            file,
            f"{width} x {height} pixels have a side above the {policy.max_side:,} that are read",
            "cut it into tiles",
        )
    if width * height > policy.max_pixels:
        raise TooManyPixels(
            file,
            f"{width} x {height} pixels are more than the {policy.max_pixels:,} that are read",
            _ADVICE_SCALE_DOWN,
        )
    return width, height


def _warnings(plugin: ImageFile.ImageFile) -> tuple[str, ...]:
    """What of the file is not used."""
    bands = unused_bands(plugin)
    try:
        several = bool(getattr(plugin, "is_animated", False))
    except _BROKEN:  # a GIF that breaks behind its first frame, which is all that is used
        plugin.seek(0)
        several = True
    if several:
        return ("the file holds several frames or pages; only the first is used", *bands)
    return bands


def _orientation(plugin: ImageFile.ImageFile) -> int:
    """EXIF (or XMP) orientation 1 to 8; 1 where it is broken, and for TIFF, which Pillow turns."""
    keys = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
    if plugin.format == "TIFF" or not any(key in plugin.info for key in keys):
        return 1
    try:
        # Not PngImageFile's own getexif, which would decode the pixels to look behind them.
        value = PillowImage.Image.getexif(plugin).get(0x0112, 1)
    except _BROKEN:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _raw_mode(image: PillowImage.Image) -> str:
    """How the pixels lie in the file, such as ``L;4`` or ``RGB;16B``; asked before loading."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _check_end(plugin: ImageFile.ImageFile, stream: BinaryIO, first_block: int, file: str) -> None:
    """A PNG or GIF without its end marker is truncated, even where all pixels are there."""
    if plugin.format == "PNG" and not getattr(plugin, "is_animated", False):
        stream.seek(-8, os.SEEK_CUR)
        whole = stream.read(12) == b"\0\0\0\0IEND\xaeB`\x82"
    elif plugin.format == "GIF":
        stream.seek(first_block)
        while (length := stream.read(1)) and length[0]:
            stream.seek(length[0], os.SEEK_CUR)
        whole = bool(stream.read(1))
    else:
        whole = True
    if not whole:
        raise TruncatedImage(file, "it is cut off at its end", _ADVICE_COPY_AGAIN)
