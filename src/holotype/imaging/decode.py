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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from PIL import Image as PillowImage
from PIL import ImageFile, ImageOps, JpegImagePlugin

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
from holotype.imaging.decoding_memory import (
    DECODING_MEMORY,
    refused_where_memory_ends,
    release_with,
)
from holotype.imaging.file_limits import refuse_many_scans, require_plain_file, require_size
from holotype.imaging.image_formats import HEAD_BYTES, format_of, unread_extension
from holotype.imaging.pillow_headers import (
    ADVICE_COPY_AGAIN,
    BROKEN_FILE_ERRORS,
    EXIF_TRANSPOSES,
    file_of,
    orientation_of,
    raw_mode_of,
    still_shows,
    unused_contents,
)
from holotype.imaging.pillow_plugins import plugin_for
from holotype.imaging.pillow_warnings import pillow_warnings_ignored
from holotype.imaging.pixels import largest_of_16_bits, to_eight_bits
from holotype.imaging.png_text import is_about_text, without_text
from holotype.imaging.significant_bits import (
    FULL_BITS,
    above_range,
    colour_of_16_bits,
    has_lost_bits,
    has_open_range,
    stated_largest,
)
from holotype.imaging.tiff_tags import is_white_zero, refuse_signed
from holotype.imaging.truncated_images import load_pixels


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
        largest: the largest value of 16 bits, of which colour keeps an upper bound, or the largest
            that the header allows; 0 for other depths, and where the header gives the range.
        is_largest_stated: whether it is from the header.
    """

    pixels: PillowImage.Image
    mask: PillowImage.Image | None
    format: str
    mode: str
    stored_size: tuple[int, int]
    warnings: tuple[str, ...] = ()
    largest: int = 0
    is_largest_stated: bool = False


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
    """

    formats: tuple[str, ...]
    max_pixels: int


class DecodeOptions(NamedTuple):
    """How the pixels of a file are read; see `decode`."""

    bits: int = FULL_BITS
    tolerate_truncated: bool = False


# For local files. The limit is Pillow's own for decompression bombs: 0.25 GiB of RGB, above the
# images of any camera.
LOCAL = ImagePolicy(
    (
        "JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM",
    ),
    89_478_485,
)  # fmt: skip

# For bytes from the network: the three formats of the web, whose decoders are fuzzed most, and at
# most 25 megapixels, since several are decoded at once.
NETWORK = ImagePolicy(("JPEG", "PNG", "WEBP"), 25_000_000)


Result = TypeVar("Result")

_MAX_SIDE = 100_000  # width or height; resizing a longer one takes gigabytes
_ADVICE_SCALE_DOWN = "scale it down, or cut it into tiles"


def decode(
    source: Path | bytes,
    *,
    name: str | None = None,
    minimum_size: tuple[int, int] | None = None,
    bits: int = FULL_BITS,
    tolerate_truncated: bool = False,
    policy: ImagePolicy = LOCAL,
) -> Image:
    """One upright image, 8 bits a channel, with a separate alpha.

    Grey stays grey (``L``); everything else becomes ``RGB``. 16-bit grey is divided by 257 and
    rounded, never stretched; 16-bit colour is cut to its high byte by Pillow, which is within
    one level of that. With fewer significant bits, their largest value becomes 255. Of several
    frames or pages the first is used, of more bands than grey or RGB the first ones, and a
    warning says so. EXIF orientation is applied; ICC profiles are ignored.

    Args:
        source: a file, or a file's bytes.
        name: in errors; the path unless given.
        minimum_size: (width, height) that the caller needs at least. A JPEG may then be decoded
            at 1/2, 1/4 or 1/8 of its size, in a fraction of the time; never below this size.
        bits: how many are significant in images of 16 bits, from 8 to 16; see `significant_bits`.
        tolerate_truncated: read a file that is cut off as far as it goes; a warning says so.
        policy: which formats and how many pixels are accepted.

    Raises:
        ImageError: one of its kinds, whatever is wrong with the file.
    """
    if minimum_size is not None and min(minimum_size) < 1:
        raise ValueError(f"minimum_size must be at least 1 x 1, not {minimum_size}")
    own_name = f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)
    file = own_name if name is None else name
    loading = _Loading(file, DecodeOptions(bits, tolerate_truncated))
    return _read(source, file, lambda s: _decode(s, minimum_size, loading, policy))


class _Loading(NamedTuple):
    """What is loaded, by its name in errors, and how."""

    file: str
    options: DecodeOptions


def _decode(
    stream: BinaryIO,
    minimum_size: tuple[int, int] | None,
    loading: _Loading,
    policy: ImagePolicy,
) -> Image:
    plugin = _open(stream, loading.file, policy)
    width, height = _checked_size(plugin, loading.file, policy)
    refuse_signed(plugin, loading.file)
    notes = unused_contents(plugin)
    if minimum_size is not None and isinstance(plugin, JpegImagePlugin.JpegImageFile):
        turned = orientation_of(plugin) >= 5
        plugin.draft(None, minimum_size[::-1] if turned else minimum_size)
    release = DECODING_MEMORY.reserve(plugin.width * plugin.height)
    try:
        image = _loaded(plugin, stream, notes, (width, height), loading)
    except BaseException:
        release()
        raise
    release_with(image, release)
    return image


def _loaded(
    plugin: ImageFile.ImageFile,
    stream: BinaryIO,
    notes: tuple[str, ...],
    stored_size: tuple[int, int],
    loading: _Loading,
) -> Image:
    """The pixels of an open file, upright, with 8 bits a channel."""
    (width, height), (file, (bits, tolerate)) = stored_size, loading
    stored_mode, raw_mode = plugin.mode, raw_mode_of(plugin)
    is_open = has_open_range(plugin, raw_mode)
    stated = stated_largest(plugin, stream) if is_open else 0
    notes = (*notes, *load_pixels(plugin, stream, file, tolerate_truncated=tolerate))
    orientation = orientation_of(plugin)
    largest = largest_of_16_bits(plugin, raw_mode)
    loaded: PillowImage.Image = plugin
    is_stated = 0 < largest <= stated
    if is_open and bits < FULL_BITS:
        notes = (*notes, *above_range(largest, bits))
        if not plugin.mode.startswith("I"):
            loaded = colour_of_16_bits(plugin, stream, raw_mode, bits, file, tolerate)
            raw_mode = loaded.mode
    pixels, mask = to_eight_bits(
        loaded, raw_mode, file, white_is_zero=is_white_zero(plugin), bits=bits
    )
    turn = EXIF_TRANSPOSES.get(orientation)
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
        largest=max(largest, stated if is_stated else 0),
        is_largest_stated=is_stated,
    )


def from_pillow(image: PillowImage.Image, *, name: str, bits: int = FULL_BITS) -> Image:
    """A Pillow image of any mode as `decode` would give it; its EXIF orientation is applied.

    Args:
        bits: how many are significant in an image of 16 bits.

    Raises:
        ImageError: its pixels cannot be loaded, or their range is not known or lost.
    """
    with _translating_errors(name):
        refuse_signed(image, name)
        raw_mode = raw_mode_of(image)  # before it is loaded
        if bits < FULL_BITS and has_lost_bits(image, raw_mode):
            if (path := file_of(image)) and image.tell() == 0 and still_shows(path, image):
                return decode(path, name=name, bits=bits)
            reason = f"Pillow may have left 8 of its 16 bits, of which {bits} are significant"
            raise UnsupportedMode(name, reason, "hand over its path or its bytes instead")
        upright = ImageOps.exif_transpose(image)
        upright.format = image.format
        pixels, mask = to_eight_bits(
            upright, raw_mode, name, white_is_zero=is_white_zero(image), bits=bits
        )
        pixels.info = {}
        return Image(pixels, mask, image.format or "", image.mode, upright.size)


def read_header(path: Path) -> Header:
    """Upright size, format and stored mode, without decoding a pixel.

    A PNG whose EXIF data follows its pixels, which is rare, is taken as upright here.

    Raises:
        ImageError: one of its kinds; a file that breaks only later in its pixels passes.
    """
    file = str(path)
    return _read(path, file, lambda stream: _read_header(stream, file))


def _read_header(stream: BinaryIO, file: str) -> Header:
    plugin = _open(stream, file, LOCAL)
    width, height = _checked_size(plugin, file, LOCAL)
    if orientation_of(plugin) >= 5:
        width, height = height, width
    stored_mode = plugin.mode  # a look for further frames may change it
    return Header(width, height, plugin.format or "", stored_mode, unused_contents(plugin))


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
    """The open file, if it is a regular one of no more bytes than are read."""
    if isinstance(source, bytes):
        require_size(len(source), file)
        yield io.BytesIO(source)
        return
    require_plain_file(source, file)
    try:
        stream = open(source, "rb")  # noqa: SIM115 - closed below, outside this try
    except OSError as error:
        reason = f"it cannot be opened ({error.strerror})"
        raise UnreadableFile(file, reason, "check the path") from None
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
    except BROKEN_FILE_ERRORS as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if "pixel mode" in detail or "cannot handle" in detail:
            reason = f"this kind of pixel is not read ({detail})"
            raise UnsupportedMode(file, reason, "save it with 8 bits a channel") from None
        raise TruncatedImage(
            file, f"it is cut off or damaged ({detail})", ADVICE_COPY_AGAIN
        ) from None


def _open(stream: BinaryIO, file: str, policy: ImagePolicy) -> ImageFile.ImageFile:
    """Pillow's plugin for the format of the first bytes; no pixel is decoded."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise EmptyFile(file, "it has 0 bytes", ADVICE_COPY_AGAIN)
    found = format_of(head)
    known = ", ".join(f for f in policy.formats if f != "MPO")
    if extension := unread_extension(file, found):
        reason = f"{extension} is not read here"
        raise UnsupportedFormat(file, reason, f"convert it to {known}")
    if found is None:
        raise NotAnImage(file, "its bytes are of no known image format", f"expected {known}")
    if found not in policy.formats:
        raise UnsupportedFormat(file, f"{found} is not read here", f"convert it to {known}")
    if found == "JPEG":
        refuse_many_scans(stream.read(), file)
        stream.seek(0)
    plugin = plugin_for(found, file, known)(stream)
    if found == "JPEG" and "mp" in plugin.info and "MPO" in policy.formats:
        with suppress(*BROKEN_FILE_ERRORS):  # a damaged index of further images
            stream.seek(0)
            plugin = JpegImagePlugin.jpeg_factory(stream)
    return plugin


def _checked_size(plugin: ImageFile.ImageFile, file: str, policy: ImagePolicy) -> tuple[int, int]:
    width, height = plugin.size
    if max(width, height) > _MAX_SIDE:
        raise TooManyPixels(
            file,
            f"{width} x {height} pixels have a side above the {_MAX_SIDE:,} that are read",
            "cut it into tiles",
        )
    if width * height > policy.max_pixels:
        raise TooManyPixels(
            file,
            f"{width} x {height} pixels are more than the {policy.max_pixels:,} that are read",
            _ADVICE_SCALE_DOWN,
        )
    return width, height
