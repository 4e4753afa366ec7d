"""The images of a request: its body, or the files of a multipart body; in memory, never on disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from holotype.serving.http.problems import Problem

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
MAX_FIELDS = 1000  # of a form, besides files
MAX_TEXT_BYTES = 64 << 10  # without files: it is parsed while all other requests wait


@dataclass
class Form:
    """What a form of a page sends.

    Attributes:
        fields: the values of each field, in the order in which they came.
        files: the name and the bytes of each file that was chosen.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[tuple[str, bytes]] = field(default_factory=list)

    def get(self, name: str, otherwise: str = "") -> str:
        """The last value of a field."""
        return self.fields.get(name, [otherwise])[-1]

    def all(self, name: str) -> list[str]:
        """All values of a field, such as of boxes that were ticked."""
        return self.fields.get(name, [])


async def form_of(request: Request, max_files: int) -> Form:
    """The fields and files of a form, URL-encoded or multipart.

    Raises:
        Problem: another type of body, one that is malformed or too large, or too many files.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"application/x-www-form-urlencoded":
        form, content = Form(), await _body(request)
        if len(content) > MAX_TEXT_BYTES:
            raise Problem("body_too_large", f"At most {MAX_TEXT_BYTES >> 10} KiB are read.")
        try:
            pairs = parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise Problem("invalid_body", "The form is malformed.") from None
        for name, value in pairs:
            form.fields.setdefault(name, []).append(value)
        return form
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem("unsupported_media_type")
    parts = await _parts_of(request, options[b"boundary"], max_files + MAX_FIELDS)
    if len(parts.form.files) > max_files:
        raise Problem("too_many_images", f"At most {max_files} files are read.")
    return parts.form


async def images_of(request: Request, max_images: int) -> list[bytes]:
    """The files of a request, at least one.

    Raises:
        Problem: another type of body, no image or too many.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.startswith(b"image/"):
        if kind.decode("latin-1").lower() not in IMAGE_TYPES:
            raise Problem("unsupported_media_type")
        content = await _body(request)
        if not content:
            raise Problem("no_image")
        return [content]
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem("unsupported_media_type")
    parts = await _parts_of(request, options[b"boundary"], max_images)
    if not parts.images:
        raise Problem("no_image")
    return parts.images


async def _parts_of(request: Request, boundary: bytes, max_parts: int) -> "_Parts":
    parts = _Parts(max_parts)
    try:
        parts.read(await _body(request), boundary)
    except ValueError:  # of the parser
        raise Problem("invalid_body", "The multipart body is malformed.") from None
    if not parts.ended:
        raise Problem("invalid_body", "The multipart body is cut off.")
    return parts


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise Problem("bad_request", "The client left.") from None


class _Parts:
    """What the parser calls back with; every part that has a file name is an image.

    Attributes:
        images: the bytes of every file.
        form: fields by name, and the files that have a name and bytes: of a field where nothing
            was chosen a browser sends a file that has neither.
    """

    def __init__(self, max_parts: int) -> None:
        self.images: list[bytes] = []
        self.form = Form()
        self.ended = False
        self._max_parts = max_parts
        self._count = 0
        self._header_name = b""
        self._header_value = b""
        self._disposition: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []

    def read(self, body: bytes, boundary: bytes) -> None:
        callbacks: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()

    def _on_part_begin(self) -> None:
        self._count += 1
        if self._count > self._max_parts:
            raise Problem("too_many_images", f"At most {self._max_parts} parts are read.")
        self._pieces, self._disposition = [], {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, self._disposition = parse_options_header(self._header_value)
        self._header_name, self._header_value = b"", b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        content = b"".join(self._pieces)
        if b"filename" not in self._disposition:
            name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
            self.form.fields.setdefault(name, []).append(content.decode("utf-8", "replace"))
            return
        self.images.append(content)
        file_name = self._disposition[b"filename"].decode("utf-8", "replace")
        if file_name or content:
            self.form.files.append((file_name, content))

    def _on_end(self) -> None:
        self.ended = True
