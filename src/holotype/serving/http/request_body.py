"""The images of a request: its body, or the files of a multipart body; in memory, never on disk."""

from collections.abc import Callable
from typing import Any

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from holotype.serving.http.problems import Problem

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")


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
    files = _Files(max_images)
    try:
        files.read(await _body(request), options[b"boundary"])
    except ValueError:  # of the parser
        raise Problem("invalid_body", "The multipart body is malformed.") from None
    if not files.ended:
        raise Problem("invalid_body", "The multipart body is cut off.")
    if not files.found:
        raise Problem("no_image")
    return files.found


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise Problem("bad_request", "The client left.") from None


class _Files:
    """What the parser calls back with; every part that has a file name is an image."""

    def __init__(self, max_images: int) -> None:
        self.found: list[bytes] = []
        self.ended = False
        self._max_images = max_images
        self._parts = 0
        self._header_name = b""
        self._header_value = b""
        self._is_file = False
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
        self._parts += 1
        if self._parts > self._max_images:
            raise Problem("too_many_images", f"At most {self._max_images} parts are read.")
        self._pieces, self._is_file = [], False

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self._is_file = b"filename" in options
        self._header_name, self._header_value = b"", b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        if self._is_file:
            self.found.append(b"".join(self._pieces))

    def _on_end(self) -> None:
        self.ended = True
