"""Slow, broken and hostile clients: they are refused or served, and cost the others nothing."""

import asyncio
import io
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import Bundle
from tests.serving.load_generator import Load, Outcome, http_request
from tests.serving.running import Running, running

PREDICT = "/v1/models/tiny/predict"
MIB = 1 << 20


async def talk(server: Running, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """What the server says to these bytes before it closes, or within two seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(4096), 2)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


def head(path: str = PREDICT, *lines: str, method: str = "POST", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode()


HOST = "host: 127.0.0.1"
CHUNKED = "transfer-encoding: chunked"
PNG = "content-type: image/png"


@pytest.mark.parametrize(
    ("pieces", "statuses"),
    [
        ([head(PREDICT, HOST, PNG, f"content-length: {1 << 30}")], {413}),
        ([head(PREDICT, HOST, PNG, "content-length: -5")], {400}),
        ([head(PREDICT, HOST, PNG, "content-length: " + "9" * 5000)], {400, 413}),
        ([head(PREDICT, HOST, PNG, "content-length: 5", "content-length: 6")], {400}),
        ([head(PREDICT, HOST, PNG, "content-length: 5", CHUNKED), b"0\r\n\r\n"], {400}),
        ([head(PREDICT, HOST, PNG, CHUNKED), b"zz\r\nnothing\r\n"], {400}),
        ([head(PREDICT, HOST, PNG, CHUNKED), b"ffffffffffffffffff\r\n"], {400}),
        ([head(PREDICT, PNG, "content-length: 1"), b"x"], {421}),
        ([head(PREDICT, "host: evil.example", PNG, "content-length: 1"), b"x"], {421}),
        ([head(PREDICT, "host: 127.0.0.1/../x", PNG, "content-length: 1"), b"x"], {421}),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], {400}),
        ([b"GET / HTTP/9.9\r\n\r\n"], {400}),
        ([head("/healthz", HOST, "x-long: " + "y" * 20_000, method="GET")], {431}),
        ([head("/healthz", HOST, *[f"x-{n}: {n}" * 9 for n in range(999)], method="GET")], {431}),
        ([head("/" + "a" * 20_000, HOST, method="GET")], {431}),
        ([head("/healthz", HOST, method="GET", version="1.0")], {200}),
        ([head("/healthz", HOST, "connection: upgrade", "upgrade: h2c", method="GET")], {200, 400}),
    ],
)
def test_what_is_no_request_is_refused(
    server: Running, pieces: list[bytes], statuses: set[int]
) -> None:
    answer = asyncio.run(talk(server, *pieces, pause_s=0.05))
    assert int(answer[9:12]) in statuses, answer


def test_a_body_that_does_not_say_how_long_it_is_ends_at_the_limit(server: Running) -> None:
    async def send() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head(PREDICT, HOST, PNG, CHUNKED))
        chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
        try:
            for _ in range(64):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        return await reader.read(200)

    before = server.memory()
    assert b" 413 " in asyncio.run(send())
    assert server.memory() - before < 80 * MIB


def test_ten_thousand_parts_are_too_many(server: Running) -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n'
    body = part * 10_000 + b"--b--\r\n"
    answer = httpx.post(
        server.url + PREDICT,
        content=body,
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert (answer.status_code, answer.json()["type"]) == (413, "too_many_images")


def test_a_large_image_is_served_and_a_huge_one_is_refused(server: Running) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2900, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG", compress_level=0)
    assert 19 * MIB < len(file.getvalue()) < 22 * MIB
    answer = httpx.post(
        server.url + PREDICT,
        content=file.getvalue(),
        headers={"content-type": "image/png"},
        timeout=30,
    )
    assert answer.status_code == 200
    huge = io.BytesIO()
    Image.new("L", (6000, 5000)).save(huge, format="PNG")
    answer = httpx.post(
        server.url + PREDICT, content=huge.getvalue(), headers={"content-type": "image/png"}
    )
    assert (answer.status_code, answer.json()["type"]) == (422, "too_many_pixels")
    assert answer.json()["detail"] == (
        "6000 x 5000 pixels are more than the 25,000,000 that are read. "
        "Scale it down, or cut it into tiles."
    )


def test_nothing_of_an_upload_comes_back(server: Running) -> None:
    secret = "<script>s3cr3t</script>"
    answers = [
        httpx.post(server.url + PREDICT, files=[("images", (secret, secret.encode()))]),
        httpx.post(
            server.url + PREDICT + f"?top_k={secret}", content=b"x", headers={PNG[:12]: secret}
        ),
        httpx.get(server.url + f"/{secret}"),
        httpx.post(server.url + "/v1/feedback", json={secret: secret}),
        httpx.get(server.url + "/healthz", headers={"traceparent": secret}),
    ]
    for answer in answers:
        assert "s3cr3t" not in answer.text + str(answer.headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "percent", [None, pytest.param(99, marks=pytest.mark.slow)], ids=["median", "p99"]
)
def test_slow_clients_are_ended_and_the_others_do_not_notice(
    tiny_bundle: Bundle, images: list[Path], percent: float | None
) -> None:
    content = images[0].read_bytes()

    async def trickle(server: Running, start: bytes, closed: list[float]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        started = time.perf_counter()
        try:
            writer.write(start)
            while True:
                writer.write(b"x")
                await writer.drain()
                if await _at_end(reader, 1.0):
                    break
        except ConnectionError:
            pass
        closed.append(time.perf_counter() - started)
        writer.close()

    async def run(server: Running) -> tuple[Outcome, Outcome, list[float]]:
        requests = [http_request(PREDICT, content)]
        alone = await Load(server.port, requests).open_loop(40, 4)
        closed: list[float] = []
        starts = [head(PREDICT, HOST)[:-2] + b"x-slow: "] * 200
        starts += [head(PREDICT, HOST, PNG, "content-length: 5000")] * 200
        slow = [asyncio.create_task(trickle(server, start, closed)) for start in starts]
        await asyncio.sleep(1)
        beside = await Load(server.port, requests).open_loop(40, 4)
        assert set(beside.statuses) == {200}
        await asyncio.wait(slow, timeout=25)
        return alone, beside, closed

    limits = "header_timeout_s=3, body_timeout_s=5"
    with running(tiny_bundle.path, limits=limits) as server:
        before = server.memory()
        alone, beside, closed = asyncio.run(run(server))
        late_ms = beside.late_ms(95)  # what this machine adds, on each side
        print(
            f"p95 alone {alone.percentile_ms(95):.1f} ms, beside 400 slow clients "
            f"{beside.percentile_ms(95):.1f} ms, this machine is {late_ms:.1f} ms late"
        )
        assert server.memory() - before < 50 * MIB
    assert len(closed) == 400
    assert max(closed) < 20
    assert beside.percentile_ms(50) < 2 * alone.percentile_ms(50) + 50
    if percent is not None:
        assert beside.percentile_ms(percent) < 2 * alone.percentile_ms(percent) + 2 * late_ms


async def _at_end(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        while await asyncio.wait_for(reader.read(4096), seconds):
            pass
    except TimeoutError:
        return False
    return True


def test_headers_may_come_in_pieces(server: Running) -> None:
    """As many bytes as are taken in one piece."""
    lines = [f"x-{number}: {'y' * 990}" for number in range(15)]
    whole = head("/healthz", HOST, *lines, method="GET")
    for pieces in (
        [whole],
        [whole[:9000], whole[9000:]],
        [whole[:200], whole[200:14000], whole[14000:]],
    ):
        said = asyncio.run(talk(server, *pieces, pause_s=0.05))
        assert said.startswith(b"HTTP/1.1 200"), said


def test_a_body_that_is_too_large_for_feedback_is_413(server: Running) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    sent = head("/v1/feedback", HOST, "content-type: application/json", CHUNKED)
    assert asyncio.run(talk(server, sent, *[chunk] * 40)).startswith(b"HTTP/1.1 413")


def test_a_body_without_images_is_small(server: Running) -> None:
    """Parsing lists of lists would keep all others waiting: 32 MiB of them take seconds."""
    head_of = ("/v1/feedback", HOST, "content-type: application/json")
    for length, status in ((65_537, 413), (65_536, 422)):
        body = b'{"label": [' + b"[]," * 30_000
        sent = head(*head_of, f"content-length: {length}") + body[:length].ljust(length)
        answer = asyncio.run(talk(server, sent))
        assert answer.startswith(b"HTTP/1.1 %d" % status), answer


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-origin", 200), ("none", 200), ("", 200)]
)
def test_a_page_of_another_site_changes_nothing(
    server: Running, images: list[Path], site: str, status: int
) -> None:
    """A browser on a machine that may ask without a key says where a request comes from."""
    headers = {"sec-fetch-site": site} if site else {}
    files = {"images": images[0].read_bytes()}
    answer = httpx.post(f"{server.url}{PREDICT}", files=files, headers=headers)
    assert answer.status_code == status, answer.text
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
