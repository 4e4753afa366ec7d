"""Every odd image gets the answer of `holotype predict`, alone and under load, or is refused."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import numpy as np
import pytest

from holotype.bundle.bundle import Bundle
from holotype.imaging.decode import NETWORK
from holotype.imaging.image_formats import HEAD_BYTES, format_of
from holotype.pipeline.classifier import load
from tests.odd.image_files import FILES
from tests.serving.load_generator import Load, http_request
from tests.serving.running import Running

PREDICT = "/v1/models/tiny/predict"
WITH_CONTENT = [(one.name, one.content) for one in FILES if one.content is not None]


@contextmanager
def load_beside(server: Running, images: list[Path]) -> Iterator[None]:
    """Eight clients that ask for other images until the block ends."""
    requests = [http_request(PREDICT, image.read_bytes()) for image in images]
    ended = threading.Event()

    async def until_ended() -> None:
        while not ended.is_set():
            await Load(server.port, requests).closed_loop(8, 0.2)

    thread = threading.Thread(target=lambda: asyncio.run(until_ended()))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "under load"])
def test_an_odd_image_gets_the_answer_of_predict_or_is_refused(
    server: Running, tiny_bundle: Bundle, images: list[Path], busy: bool
) -> None:
    classifier, answered = load(tiny_bundle.path), 0
    beside = load_beside(server, images) if busy else nullcontext()
    with beside, httpx.Client(timeout=60) as client:
        for name, content in WITH_CONTENT:
            answer = client.post(
                server.url + PREDICT, content=content, headers={"content-type": "image/png"}
            )
            local = classifier.predict(content)
            readable = format_of(content[:HEAD_BYTES]) in NETWORK.formats
            if answer.status_code != 200:
                assert answer.status_code == 422, name
                assert not readable or local.refused, (name, answer.json())
                continue
            assert readable, name
            (found,) = answer.json()["predictions"]
            (expected,) = local
            assert (found["class"], found["unknown"]) == (expected.label, expected.unknown), name
            probabilities = [found["probabilities"][each] for each in classifier.classes]
            np.testing.assert_allclose(
                probabilities, list(expected.probabilities.values()), atol=1e-6, err_msg=name
            )
            answered += 1
    print(f"{answered} of {len(WITH_CONTENT)} answered")
    assert answered > 40
