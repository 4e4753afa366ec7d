"""The plugin of Pillow for each format; no other parser sees a file of that format."""

from collections.abc import Callable
from typing import BinaryIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from holotype.errors import UnsupportedFormat
from holotype.extras import install_command

Plugin = Callable[[BinaryIO], ImageFile.ImageFile]

_PLUGINS: dict[str, Plugin] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}


def plugin_for(format: str, file: str, others: str) -> Plugin:
    """The plugin of a format that `ImagePolicy` accepts.

    Args:
        file: its name in errors.
        others: the formats that it could be converted to.

    Raises:
        UnsupportedFormat: HEIC, and the package that reads it is not installed.
    """
    return _heif_plugin(file, others) if format == "HEIF" else _PLUGINS[format]


def _heif_plugin(file: str, others: str) -> Plugin:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedFormat(
            file,
            "HEIC is read by the package pillow-heif, which is not installed",
            f"run {install_command('heic')}, or convert it to {others}",
        ) from None

    return HeifImageFile
