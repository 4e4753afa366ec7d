"""Mutated images and bodies: none is worth more than a refusal, and none costs memory."""

import io
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import Bundle
from tests.serving.running import running

PREDICT = "/v1/models/tiny/predict"
MIB = 1 << 20
MODES = (
    *(("PNG", mode) for mode in ("RGB", "P", "LA")),
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("WEBP", mode) for mode in ("RGB", "RGBA")),
)
EXTREMES = (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff")


def seeds(images: list[Path]) -> list[tuple[str, bytes]]:
    """Small valid images of the three formats, in several modes."""
    found = []
    for path in images[:3]:
        image = Image.open(path)
        for kind, mode in MODES:
            file = io.BytesIO()
            image.convert(mode).save(file, format=kind)
            found.append((f"image/{kind.lower()}", file.getvalue()))
    noise = np.random.default_rng(0).integers(0, 2**16, (40, 40), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG")
    return [*found, ("image/png", file.getvalue())]


def mutated(content: bytes, choose: random.Random) -> bytes:
    """A few bytes changed, cut out, repeated or put in."""
    found = bytearray(content)
    for _ in range(choose.randint(1, 8)):
        place = choose.randrange(len(found) or 1)
        match choose.randrange(5):
            case 0 if found:
                found[place] ^= 1 << choose.randrange(8)
            case 1:
                del found[place : place + choose.randint(1, 64)]
            case 2:
                found[place:place] = found[place : place + choose.randint(1, 200)]
            case 3:
                found[place:place] = choose.randbytes(choose.randint(1, 16))
            case _:
                found[place : place + 4] = choose.choice(
                    [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]
                )
    return bytes(found)


def requests(images: list[Path], count: int) -> Iterator[tuple[str, bytes]]:
    """(content type, body): mutated images, and multipart bodies of them, mutated too."""
    choose, known = random.Random(16), seeds(images)
    for number in range(count):
        kind, content = choose.choice(known)
        content = mutated(content, choose)
        if number % 4:
            yield kind, content
            continue
        part = b'--b\r\ncontent-disposition: form-data; name="i"; filename="i"\r\n\r\n'
        body = part + content + b"\r\n" + part + content[:50] + b"\r\n--b--\r\n"
        body = mutated(body, choose) if number % 8 else body
        yield "multipart/form-data; boundary=b", body


@pytest.mark.parametrize(
    "count", [600, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_no_mutated_body_is_an_error_of_the_server(
    tiny_bundle: Bundle, images: list[Path], count: int
) -> None:
    statuses: dict[int, int] = {}
    with running(tiny_bundle.path, "--workers", "1") as server, httpx.Client(timeout=30) as client:
        bodies = list(requests(images, count + 200))
        before = 0
        for number, (kind, body) in enumerate(bodies):
            if number == 200:  # after the decoders have warmed up
                before = server.memory()
            headers = {"content-type": kind}
            answer = client.post(server.url + PREDICT, content=body, headers=headers)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        grown = server.memory() - before
        deaths = httpx.get(server.url + "/metrics").text
    print(f"{statuses}, {grown / MIB:.1f} MiB more")
    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert statuses[200] > 0
    assert statuses[422] > count / 4
    assert "holotype_worker_deaths 0.0" in deaths
    assert grown < 50 * MIB


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_answer_is_as_the_openapi_description_says(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "schemathesis==4.32.5"], check=True)
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.name" = "tiny"\n')
    with running(tiny_bundle.path, "--workers", "1") as server:
        words = ["run", f"{server.url}/openapi.json", "--checks", ",".join(CHECKS)]
        words += ["--max-examples", "60", "--seed", "16", "--phases", "examples,fuzzing"]
        found = subprocess.run(
            [python, "-m", "schemathesis.cli", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        metrics = httpx.get(server.url + "/metrics").text
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "holotype_worker_deaths 0.0" in metrics
    assert re.search(r'models/\{name\}/predict",status="422"', metrics)  # the classifier was asked
