"""The body of a request with images, as a client sends it."""

import io
import secrets
from collections.abc import Sequence

from holotype.bundle.image_sources import ImageFile, ImageSource
from holotype.imaging.image_formats import HEAD_BYTES, format_of

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def body_of(sources: Sequence[ImageSource]) -> tuple[bytes, str]:
    """The bytes to send, and their type: one image as it is, several as files of a form.

    Raises:
        ImageError: a file cannot be read.
    """
    return _upload(*sources) if len(sources) == 1 else _multipart(sources)


def _upload(source: ImageSource) -> tuple[bytes, str]:
    """One image; pixels that are no file become a PNG."""
    if isinstance(source, ImageFile):
        content, _ = source.read()
    elif isinstance(source.content, bytes):
        content = source.content
    else:
        image, file = source.content, io.BytesIO()
        savable = image if image.mode in PNG_MODES else image.convert("RGB")
        savable.save(file, format="PNG", compress_level=1)
        content = file.getvalue()
    return content, MEDIA_TYPES.get(format_of(content[:HEAD_BYTES]) or "", "image/png")


def _multipart(sources: Sequence[ImageSource]) -> tuple[bytes, str]:
    """Several images."""
    boundary, parts = secrets.token_hex(16), []
    for place, source in enumerate(sources):
        content, kind = _upload(source)
        disposition = f'form-data; name="images"; filename="{place}"'
        head = f"--{boundary}\r\ncontent-disposition: {disposition}\r\ncontent-type: {kind}\r\n\r\n"
        parts += [head.encode(), content, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), (
        f"multipart/form-data; boundary={boundary}"
    )
