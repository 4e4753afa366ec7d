"""Downloads from a local server that breaks off, declares wrong lengths and redirects."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holotype.dataset.sources.download import download
from holotype.errors import DownloadFailed, UsageError

CONTENT = os.urandom(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server holds, and its faults."""

    url: str = ""
    content: bytes = CONTENT
    etag: str | None = '"v1"'
    cut_after: list[int] = field(default_factory=list)  # bytes, one answer each
    knows_ranges: bool = True
    says_length: bool = True
    ranges: list[str | None] = field(default_factory=list)  # what was asked for


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
                return
            if self.path == "/to-ftp":
                self.send_response(302)
                self.send_header("Location", "ftp://127.0.0.1/file")
                self.end_headers()
                return
            if self.path != "/file":
                self.send_error(404)
                return
            asked = self.headers.get("Range")
            site.ranges.append(asked)
            start = 0
            if asked and site.knows_ranges and self.headers.get("If-Range") == site.etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(site.content) and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.content)}")
                self.end_headers()
                return
            body = site.content[start:]
            self.send_response(206 if start else 200)
            if start:
                end = f"{len(site.content) - 1}/{len(site.content)}"
                self.send_header("Content-Range", f"bytes {start}-{end}")
            if site.says_length:
                self.send_header("Content-Length", str(len(body)))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            self.wfile.write(body[: site.cut_after.pop(0)] if site.cut_after else body)

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}/file"
    yield site
    server.shutdown()
    server.server_close()


def test_an_interrupted_download_is_resumed(site: Site, tmp_path: Path) -> None:
    site.cut_after = [100_000, 250_000]
    seen: list[int] = []
    target = download(
        site.url, tmp_path / "a.zip", sha256=SHA256, retry_pause_s=0,
        on_progress=lambda done, total: seen.append(done) if total == len(CONTENT) else None,
    )  # fmt: skip
    assert target.read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", "bytes=350000-"]
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_another_process_resumes_a_download(site: Site, tmp_path: Path) -> None:
    site.cut_after = [200_000] + [0] * 10
    with pytest.raises(DownloadFailed, match=r"broke off after 200,000 bytes.*resumes"):
        download(site.url, tmp_path / "a.zip", retry_pause_s=0)
    assert not (tmp_path / "a.zip").exists()
    site.cut_after, site.ranges = [], []
    assert download(site.url, tmp_path / "a.zip", retry_pause_s=0).read_bytes() == CONTENT
    assert site.ranges == ["bytes=200000-"]


def test_a_file_that_changed_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.cut_after = [200_000] + [0] * 10
    with pytest.raises(DownloadFailed):
        download(site.url, tmp_path / "a.zip", retry_pause_s=0)
    site.cut_after, site.content, site.etag = [], os.urandom(300_000), '"v2"'
    assert download(site.url, tmp_path / "a.zip", retry_pause_s=0).read_bytes() == site.content


@pytest.mark.parametrize("weakness", ["no ranges", "no etag", "weak etag"])
def test_a_server_without_ranges_sends_the_whole_file_again(
    site: Site, tmp_path: Path, weakness: str
) -> None:
    site.cut_after = [100_000]
    site.knows_ranges = weakness != "no ranges"
    site.etag = {"no etag": None, "weak etag": 'W/"v1"'}.get(weakness, site.etag)
    assert download(site.url, tmp_path / "a.zip", retry_pause_s=0).read_bytes() == CONTENT
    assert len(site.ranges) == 2


def test_a_complete_partial_file_is_used(site: Site, tmp_path: Path) -> None:
    site.says_length = False
    download(site.url, tmp_path / "a.zip")
    (tmp_path / "a.zip").rename(tmp_path / "a.zip.part")
    (tmp_path / "a.zip.part.json").write_text(f'{{"url": "{site.url}", "validator": "\\"v1\\""}}')
    assert download(site.url, tmp_path / "a.zip", sha256=SHA256).read_bytes() == CONTENT


def test_a_file_of_the_wrong_hash_or_size_is_not_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadFailed, match=f"has the SHA-256 {SHA256}, expected {'0' * 64}"):
        download(site.url, tmp_path / "a.zip", sha256="0" * 64)
    monkeypatch.setattr("holotype.dataset.sources.download.MAX_BYTES", 5_000)
    for says_length in (True, False):
        site.says_length = says_length
        with pytest.raises(DownloadFailed, match="larger than 5,000 bytes"):
            download(site.url, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_only_http_and_https_are_allowed(site: Site, tmp_path: Path) -> None:
    for url in ("file:///etc/passwd", "ftp://example.org/a.zip", "http:///a", "a.zip"):
        with pytest.raises(UsageError, match="expected http"):
            download(url, tmp_path / "a.zip")
    with pytest.raises(UsageError, match="64 hexadecimal"):
        download(site.url, tmp_path / "a.zip", sha256="abc")
    with pytest.raises(DownloadFailed, match=r"redirects to 'ftp://127.0.0.1/file'"):
        download(site.url.replace("/file", "/to-ftp"), tmp_path / "a.zip")
    moved = download(site.url.replace("/file", "/elsewhere"), tmp_path / "b.zip")
    assert moved.read_bytes() == CONTENT


def test_a_refusal_fails_at_once_and_an_unreachable_server_after_some_attempts(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DownloadFailed, match="404"):
        download(site.url + "/nothing", tmp_path / "a.zip")
    assert site.ranges == []
    monkeypatch.setattr("holotype.dataset.sources.download.MAX_ATTEMPTS", 2)
    with pytest.raises(DownloadFailed, match="broke off after 0 bytes"):
        download("http://127.0.0.1:9/file", tmp_path / "a.zip", retry_pause_s=0)
