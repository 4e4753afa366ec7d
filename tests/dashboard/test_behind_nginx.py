"""Behind nginx with TLS at a prefix, and with the server started again in the middle."""

import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from holotype.dashboard_pages.sessions import COOKIE
from holotype.run_directory import RunDirectory
from holotype.serving.http.keys import add_key
from tests.dashboard.browsing import Visit
from tests.dashboard.made_classifiers import write_classifiers
from tests.dashboard.test_runs_in_chromium import HOLD

pytestmark = pytest.mark.slow

CONFIGURATION = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        client_max_body_size 32m;
        location /a/b/ {{
            proxy_pass http://127.0.0.1:{port}/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(command: list[str], port: int) -> Iterator[None]:
    """A process, once it listens; ended by SIGTERM afterwards."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def noise_of_20_mb() -> bytes:
    """A PNG that does not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (2600, 2600, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=0)
    assert len(content.getvalue()) > 20_000_000
    return content.getvalue()


@dataclass(frozen=True)
class Proxied:
    """A dashboard that is not started yet, behind nginx, which is.

    Attributes:
        url: of the prefix, over TLS.
        server: the command that starts it.
        port: on which it listens.
        key: that may look and promote.
    """

    folder: Path
    url: str
    server: list[str]
    port: int
    key: str


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    nginx, openssl = shutil.which("nginx") or "/usr/sbin/nginx", shutil.which("openssl")
    if not Path(nginx).exists() or openssl is None:
        pytest.skip("no nginx or openssl")
    folder = write_classifiers(tmp_path / "runs")
    keys, port, tls_port = tmp_path / "keys.json", free_port(), free_port()
    key = add_key(keys, "ada", 1000.0, ["look", "promote"])
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    configuration = tmp_path / "nginx.conf"
    # nginx that was started as root would write the bodies of uploads as somebody else.
    user = "user root;" if os.getuid() == 0 else ""
    places = {"folder": tmp_path, "port": port, "tls_port": tls_port}
    configuration.write_text(CONFIGURATION.format(user=user, **places), "utf-8")
    server = [
        sys.executable, "-m", "holotype", "dashboard", str(folder), "--port", str(port),
        "--keys", str(keys), "--root-path", "/a/b", "--proxies", "127.0.0.1", "--workers", "1",
    ]  # fmt: skip
    with started([nginx, "-p", str(tmp_path), "-c", str(configuration)], tls_port):
        yield Proxied(folder, f"https://127.0.0.1:{tls_port}/a/b", server, port, key)


def test_pages_uploads_and_sessions_hold_through_a_restart(proxied: Proxied) -> None:
    outside = httpx.Client(verify=False, follow_redirects=True, timeout=120)
    large = noise_of_20_mb()
    with outside as client:
        visit = Visit(None, client)
        with started(proxied.server, proxied.port):
            visit.answer = client.get(f"{proxied.url}/dashboard")
            assert str(visit.answer.url).endswith("/a/b/dashboard/login?next=")
            visit.submit("login", key=proxied.key)
            kept = next(iter(visit.answer.history)).headers["set-cookie"]
            assert "Secure" in kept
            assert "Path=/a/b/" in kept
            assert "ada" in visit.page.text
            open_form = visit.get("try")
            before = client.cookies[COOKIE]
        with started(proxied.server, proxied.port):  # the same port, another process
            assert "Send images" in open_form.text
            visit.submit("try", files=[("images", ("l.png", large, "image/png"))], model="one")
            assert visit.status == 200
            assert "crack" in visit.page.text
            assert client.cookies[COOKIE] == before
            assert "/a/b/dashboard/try/" in str(visit.answer.url)
            for link in (found["src"] for tag, found in visit.page.tags if tag == "img"):
                here = str(visit.answer.url)
                assert client.get(str(httpx.URL(here).join(str(link)))).status_code == 200
            for section in ("", "runs/", "data/", "identify/", "service/", "specimens/", "try"):
                page = visit.get(f"/a/b/dashboard/{section}")
                assert visit.status == 200, section
                for tag, found in page.tags:
                    for name in ("href", "src", "action"):
                        assert not str(found.get(name) or "").startswith("/"), (tag, found)
                files = [found.get("href") for tag, found in page.tags if tag == "link"]
                for file in files[1:]:
                    here = str(visit.answer.url)
                    assert client.get(str(httpx.URL(here).join(str(file)))).status_code == 200


def test_an_open_page_moves_on_after_a_restart(proxied: Proxied, chromium: Any) -> None:
    run = proxied.folder / "live"
    run.mkdir()
    RunDirectory(run).write_recipe("name: x\nmodel: x\nstages: [{name: finetune, epochs: 9}]\n")
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    rows = page.locator("#moving tbody tr")

    def wait_for_more_rows() -> None:
        rows.nth(rows.count() + 1).wait_for(timeout=20_000)

    training = subprocess.Popen([sys.executable, "-c", HOLD, run])
    try:
        with page.expect_response(lambda answer: answer.status == 502, timeout=60_000):  # noqa: SIM117
            with started(proxied.server, proxied.port):
                page.goto(f"{proxied.url}/dashboard/login?next=runs/run%3Frun%3Dlive")
                page.get_by_label("Key").fill(proxied.key)
                page.get_by_role("button", name="Log in").click()
                wait_for_more_rows()
                page.evaluate("window.isTheSame = true")
        with started(proxied.server, proxied.port):
            wait_for_more_rows()
            assert page.evaluate("window.isTheSame")
            page.get_by_role("button", name="Stop").click()
            assert training.wait(timeout=30) == 7
            page.locator("#moving .state.stopped").wait_for()
    finally:
        training.kill()
        training.wait()
        context.close()
