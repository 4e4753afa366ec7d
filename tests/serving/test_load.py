"""Under load: beyond its capacity the server refuses at once and answers the rest as ever."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from holotype.bundle.bundle import Bundle
from holotype.errors import BundleError
from holotype.pipeline.classifier import load
from holotype.serving.engine.job import Job
from holotype.serving.engine.worker_process import WorkerProcess
from tests.serving.load_generator import Load, Outcome, http_request
from tests.serving.running import Running, running
from tests.serving.slow_bundle import write_slow

PATH = "/v1/models/slow/predict"


@pytest.fixture(scope="module")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_slow(tmp_path_factory.mktemp("slow") / "bundle")


@pytest.fixture
def slow_server(slow_bundle: Bundle) -> Iterator[Running]:
    with running(slow_bundle.path, "--workers", "2", "--deadline", "5") as found:
        yield found


@pytest.fixture(scope="module")
def requests(images: list[Path]) -> list[bytes]:
    return [http_request(PATH, image.read_bytes()) for image in images]


def closed(server: Running, requests: list[bytes], seconds: float, clients: int = 16) -> Outcome:
    return asyncio.run(Load(server.port, requests).closed_loop(clients, seconds))


@pytest.mark.parametrize(
    "seconds", [5, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
def test_three_times_the_capacity_costs_only_what_is_too_much(
    slow_server: Running, requests: list[bytes], seconds: int
) -> None:
    closed(slow_server, requests, 1)
    before = closed(slow_server, requests, 3)
    with ThreadPoolExecutor() as pool:
        load = pool.submit(
            asyncio.run, Load(slow_server.port, requests).open_loop(3 * before.rate, 2)
        )
        asked = []
        while not load.done():
            asked.append(httpx.get(f"{slow_server.url}/v1/models/slow/traffic").status_code)
            time.sleep(0.1)
    assert load.result().statuses[503] > 0
    assert set(asked) == {200}  # what needs no room is answered
    memory = slow_server.memory()
    overload = asyncio.run(Load(slow_server.port, requests).open_loop(3 * before.rate, seconds))
    grown = slow_server.memory() / memory
    time.sleep(5)
    calm = closed(slow_server, requests, 1, clients=1)
    after = closed(slow_server, requests, 3)
    peak = (before.rate + after.rate) / 2  # other programs take their share of this machine
    late_ms = overload.late_ms(95)  # what this machine adds to a wait, on each side
    print(
        f"peak {peak:.0f}/s, goodput {overload.rate / peak:.2f}, {dict(overload.statuses)}, "
        f"refused in {overload.percentile_ms(50, 503):.1f} ms (p50), "
        f"{overload.percentile_ms(95, 503):.1f} ms (p95), and this machine is "
        f"{late_ms:.1f} ms late (p95), memory {grown:.3f}"
    )
    assert set(overload.statuses) <= {200, 503, 504}
    assert overload.statuses[503] > 0
    assert overload.without_retry == 0
    assert grown <= 1.05
    assert set(calm.statuses) == {200}
    if seconds >= 60:  # times, which a machine that does other work as well cannot promise
        assert overload.rate >= 0.8 * peak
        assert overload.percentile_ms(95, 503) <= 50 + 3 * late_ms
        assert calm.percentile_ms(50) < 10 * 1000 / before.rate


def test_an_answer_under_load_is_the_answer_alone(
    slow_server: Running, slow_bundle: Bundle, requests: list[bytes], images: list[Path]
) -> None:
    expected = load(slow_bundle.path).predict(images)
    under_load = Load(slow_server.port, requests, keep_bodies=True)
    outcome = asyncio.run(under_load.closed_loop(16, 2))
    assert len(outcome.bodies) > 50
    for number, body in outcome.bodies:
        (found,) = json.loads(body)["predictions"]
        one = expected[number % len(images)]
        assert (found["class"], found["unknown"]) == (one.label, one.unknown)
        probabilities = [found["probabilities"][name] for name in one.probabilities]
        np.testing.assert_allclose(probabilities, list(one.probabilities.values()), atol=1e-6)


def test_a_request_waits_no_longer_than_its_deadline(
    slow_bundle: Bundle, requests: list[bytes]
) -> None:
    with running(slow_bundle.path, "--workers", "1", "--deadline", "0.3") as server:
        outcome = closed(server, requests, 2, clients=100)
    assert set(outcome.statuses) == {200, 504}
    assert max(outcome.latency_s[504]) < 1.5


def test_sigterm_finishes_what_is_in_flight(slow_server: Running, requests: list[bytes]) -> None:
    async def fifty() -> Outcome:
        load = Load(slow_server.port, requests)
        due = time.perf_counter()
        sent = [asyncio.create_task(load.one(number, due)) for number in range(50)]
        await asyncio.sleep(0.25)
        slow_server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*sent)
        return load.outcome

    outcome = asyncio.run(fifty())
    assert dict(outcome.statuses) == {200: 50}
    assert slow_server.process.wait(10) == 0


def test_a_killed_worker_costs_its_own_image_and_comes_back(
    slow_server: Running, requests: list[bytes]
) -> None:
    async def kills() -> Outcome:
        load = Load(slow_server.port, requests)
        running_load = asyncio.create_task(load.closed_loop(8, 6))
        for _ in range(3):
            await asyncio.sleep(1.5)
            workers = slow_server.workers
            os.kill(workers[0].pid, signal.SIGKILL)
        return await running_load

    outcome = asyncio.run(kills())
    assert set(outcome.statuses) <= {200, 500}
    assert 1 <= outcome.statuses[500] <= 3
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        text = httpx.get(f"http://127.0.0.1:{slow_server.port}/metrics").text
        if "holotype_workers 2.0" in text:
            break
        time.sleep(0.1)
    assert "holotype_workers 2.0" in text
    assert "holotype_worker_deaths 3.0" in text


def test_a_client_that_leaves_takes_its_images_out_of_the_queue(
    slow_server: Running, requests: list[bytes]
) -> None:
    async def leave() -> int:
        writers = []
        for number in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", slow_server.port)
            writer.write(requests[number % len(requests)])
            writers.append(writer)
        await asyncio.sleep(0.1)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.2)
        load = Load(slow_server.port, requests)
        await load.one(0, time.perf_counter())
        assert load.outcome.statuses[200] == 1
        text = httpx.get(f"http://127.0.0.1:{slow_server.port}/metrics").text
        answered = next(line for line in text.splitlines() if 'outcome="answered"' in line)
        return int(float(answered.split()[-1]))

    assert asyncio.run(leave()) < 45


def test_a_worker_that_is_being_replaced_opens_nothing_and_takes_no_job() -> None:
    async def replaced() -> None:
        worker = WorkerProcess(lambda: None)
        for _ in range(2):  # before its process is there, and after it has ended
            job = Job("thumbnail", "", b"", {}, time.monotonic() + 60)
            assert not worker.may_take(job)
            with pytest.raises(BundleError, match="is being replaced"):
                await asyncio.wait_for(worker.open("bundle"), 10)
            await worker.start()
            assert worker.may_take(job)
            worker.kill()
            await worker.run()

    asyncio.run(replaced())
