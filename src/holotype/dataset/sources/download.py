"""Download files over http and https: resumable, verified, atomic.

A partial download is kept beside the target with the server's validator (ETag or Last-Modified).
The next attempt requests the rest with `If-Range`; a server without ranges sends the whole file.
Redirects to other schemes are refused.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit, urlunsplit

from holotype.errors import DownloadFailed, UsageError
from holotype.files import sha256_of, write_json
from holotype.progress import ProgressCallback

SCHEMES = ("http", "https")
MAX_BYTES = 500_000_000_000  # a larger file is refused
MAX_ATTEMPTS = 5  # in a row without a new byte
TIMEOUT_S = 60.0
RETRY_PAUSE_S = 1.0  # before the second attempt; doubled before each later one
_CHUNK = 1 << 18


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    on_progress: ProgressCallback | None = None,
    retry_pause_s: float = RETRY_PAUSE_S,
) -> Path:
    """Download a URL into a file; a second call resumes an interrupted download.

    Args:
        sha256: expected hash of the file, hexadecimal.
        on_progress: called with (bytes so far, total bytes), if the total is known.

    Raises:
        UsageError: the URL is not http or https, or `sha256` is no SHA-256.
        DownloadFailed: the server refuses or cannot be reached, or the size or hash is wrong.
    """
    url = ascii_url(url)
    wanted = _checked_hash(sha256)
    partial = _PartialDownload(target)
    failures = 0
    while True:
        before = partial.size
        try:
            _receive(url, partial, on_progress)
            break
        except (OSError, http.client.HTTPException) as error:
            _raise_if_permanent(url, error)
            failures = 0 if partial.size > before else failures + 1
            if failures >= MAX_ATTEMPTS:
                raise DownloadFailed(
                    f"{url!r} broke off after {partial.size:,} bytes: {_reason(error)}. Check the "
                    "connection and run the same again: the download resumes."
                ) from None
            time.sleep(retry_pause_s * 2**failures if failures else 0)
    if wanted and (found := sha256_of(partial.path)) != wanted:
        partial.remove()
        raise DownloadFailed(
            f"{url!r} has the SHA-256 {found}, expected {wanted}. Nothing was kept; check the hash "
            "and the address."
        )
    partial.path.replace(target)
    partial.remove()
    return target


def ascii_url(url: str) -> str:
    """An address as servers take it: other letters than ASCII's are encoded.

    Raises:
        UsageError: it is no address, or not one of http or https.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        port = "" if parts.port is None else f":{parts.port}"
        place = parts.netloc if parts.netloc.isascii() else f"{host}{port}"
        known = parts.scheme.lower() in SCHEMES and bool(host)
    except ValueError:  # brackets that do not close, a port that is no number
        known = False
    if not known:
        raise UsageError(f"{url!r} cannot be downloaded; expected http://… or https://….")
    kept = "%/:=&?~+!$,;'@()*[]"
    return urlunsplit((parts.scheme, place, quote(parts.path, kept), quote(parts.query, kept), ""))


def _checked_hash(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    wanted = sha256.strip().lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise UsageError(f"--sha256 {sha256!r}: expected 64 hexadecimal digits.")
    return wanted


class _PartialDownload:
    """A partial file and the validator of the file that it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self.path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str | None:
        """The server's validator of the partial file; None without a usable one."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("url") != url or not self.size:
            return None
        validator = note.get("validator")
        return validator if isinstance(validator, str) and validator else None

    def restart(self, url: str, validator: str | None) -> None:
        """Discard the partial file."""
        self.path.write_bytes(b"")
        write_json(self._note, {"url": url, "validator": validator})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _receive(url: str, partial: _PartialDownload, on_progress: ProgressCallback | None) -> None:
    """One attempt: the rest of the file, or all of it."""
    validator = partial.validator(url)
    headers = {"User-Agent": "holotype", "Accept-Encoding": "identity"}
    if validator is not None:
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = _opener().open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 416 or validator is None:
                raise
            # The partial file is complete, or of another file.
            if _total_size(error.headers) == partial.size:
                return
            partial.restart(url, None)
            raise ConnectionError("the partial file was of another file") from None
    with response:
        content_length = _content_length(response.headers)
        if response.status != 206 or not _resumes_at(response.headers, partial.size):
            partial.restart(url, _validator_of(response.headers))
        total_size = partial.size + content_length if content_length is not None else None
        if total_size is not None and total_size > MAX_BYTES:
            _refuse_size(url, partial)
        _append(response, url, partial, total_size, on_progress)


def _append(
    response: Any,
    url: str,
    partial: _PartialDownload,
    total_size: int | None,
    on_progress: ProgressCallback | None,
) -> None:
    size = partial.size
    with partial.path.open("ab") as file:
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                file.close()
                _refuse_size(url, partial)
            file.write(chunk)
            if on_progress is not None and total_size is not None:
                on_progress(size, total_size)
    if total_size is not None and size < total_size:
        raise ConnectionError(f"{total_size - size:,} bytes are missing")


def _refuse_size(url: str, partial: _PartialDownload) -> None:
    partial.remove()
    raise DownloadFailed(
        f"{url!r} is larger than {MAX_BYTES:,} bytes; nothing was kept. "
        "Download it by other means if this is its size."
    )


def _content_length(headers: Message) -> int | None:
    """The declared length in bytes; None if there is none."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _resumes_at(headers: Message, size: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {size}-")


def _total_size(headers: Message) -> int | None:
    text = str(headers.get("Content-Range", "")).rpartition("/")[2]
    return int(text) if text.isdecimal() else None


def _validator_of(headers: Message) -> str | None:
    """A strong ETag, else Last-Modified; weak ETags do not identify bytes."""
    etag = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return headers.get("Last-Modified")


def _raise_if_permanent(url: str, error: Exception) -> None:
    """Raise for errors that another attempt would not mend."""
    if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429:
        raise DownloadFailed(
            f"{url!r} was refused by its server: {error.code} {error.reason}. "
            "Check the address, and whether it needs a login."
        ) from None
    if isinstance(error, _WrongScheme):
        raise DownloadFailed(
            f"{url!r} redirects to {error.url!r}; expected http or https. Check the address."
        ) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


class _WrongScheme(OSError):
    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(url)


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only; urllib would allow ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme.lower() not in SCHEMES:
            raise _WrongScheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """For http, https and proxies; `build_opener` would also open file:// and ftp://."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _HttpRedirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
