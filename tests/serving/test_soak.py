"""A mixed load costs no memory: its slope is that of noise, and a leak on purpose is seen."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from holotype.bundle.bundle import Bundle
from tests.serving.load_generator import Load, http_request
from tests.serving.running import Running, running

MIB = 1 << 20
BLOCKS = 10
QUANTUM = 1.5 * MIB  # what allocators take and give back at a time

# A server whose answers are all kept.
LEAKING = """
from holotype.serving.http import image_request
kept = []
answer = image_request.ImageRequest.response
def leak(self, body, found):
    kept.append(bytes(bytearray(20_000)))
    return answer(self, body, found)
image_request.ImageRequest.response = leak
"""


def mixed(images: list[Path]) -> list[bytes]:
    """Answers, refusals, several images, embeddings and maps."""
    contents = [image.read_bytes() for image in images]
    path = "/v1/models/tiny/"
    parts = b"".join(
        b'--b\r\ncontent-disposition: form-data; name="i"; filename="i"\r\n\r\n' + content + b"\r\n"
        for content in contents[:3]
    )
    found = [http_request(path + "predict", content) for content in contents]
    found += [http_request(path + "predict?top_k=1", content[:-40]) for content in contents[:3]]
    several = parts + b"--b--\r\n"
    found.append(http_request(path + "predict", several, "multipart/form-data; boundary=b"))
    found += [http_request(path + "embed", content) for content in contents[:3]]
    found.append(http_request(path + "explain", contents[0]))
    found.append(http_request("/nowhere", b"x"))
    return found


def memory_over(server: Running, requests: list[bytes], seconds: float) -> list[int]:
    """Bytes of the server and its workers, twenty times in each block, under load."""

    async def sample() -> list[int]:
        await Load(server.port, requests).closed_loop(4, min(10, seconds))
        load = asyncio.create_task(Load(server.port, requests).closed_loop(4, seconds))
        found, started = [], time.perf_counter()
        while time.perf_counter() - started < seconds - 0.5:
            found.append(await asyncio.to_thread(server.memory))
            await asyncio.sleep(seconds / BLOCKS / 20)
        outcome = await load
        assert 0 not in outcome.statuses
        assert outcome.statuses[200] > 0
        return found

    return asyncio.run(sample())


def leaks(memory: list[int]) -> bool:
    """Whether the slope over blocks is above 0 with 99 % confidence, and more than a quantum."""
    blocks = [float(np.mean(block)) for block in np.array_split(memory, BLOCKS)]
    line = stats.linregress(range(BLOCKS), blocks)
    lowest = line.slope - stats.t.ppf(0.99, BLOCKS - 2) * line.stderr
    print(
        f"{line.slope * BLOCKS / MIB:.2f} MiB (at least {lowest * BLOCKS / MIB:.2f}) over the load"
    )
    return bool(lowest > 0 and line.slope * BLOCKS > QUANTUM)


@pytest.mark.parametrize(
    "seconds",
    [
        6,
        pytest.param(180, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
        pytest.param(1800, marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)
def test_a_mixed_load_leaves_no_memory_behind(
    tiny_bundle: Bundle, images: list[Path], seconds: float
) -> None:
    with running(tiny_bundle.path, "--workers", "1") as server:
        assert not leaks(memory_over(server, mixed(images), seconds))


def test_a_leak_on_purpose_is_seen(tiny_bundle: Bundle, images: list[Path]) -> None:
    with running(tiny_bundle.path, limits="max_images=16", before=LEAKING) as server:
        assert leaks(memory_over(server, mixed(images), 6))
