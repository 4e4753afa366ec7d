"""A replaced version is closed when nothing can ask it, and not while it is taken again."""

import asyncio
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holotype.serving.deployment import ModelVersion, model_version
from holotype.serving.engine import worker
from holotype.serving.engine.frames import read_frame_blocking
from holotype.serving.engine.job import DeadlineExceeded, Job
from holotype.serving.engine.worker_pool import EngineSettings, WorkerPool
from holotype.serving.engine.worker_process import WorkerProcess
from holotype.serving.traffic import version_exchange
from holotype.serving.traffic.version_exchange import VersionExchange, VersionWatch
from holotype.serving.traffic.version_source import ResolvedVersion
from holotype.serving.traffic.version_traffic import VersionTraffic
from tests.serving.versions import write_version

LINGER_S = 0.05


async def take_turns(bundles: list[Path], image: bytes, turns: int) -> set[str]:
    """Two versions in turns, while images are answered; the digests that are open at the end."""
    engine, traffic = WorkerPool(EngineSettings(workers=1)), VersionTraffic()

    async def open_version(model: str, path: Path, version: str) -> ModelVersion:
        return model_version(model, await engine.open(str(path)), version)

    async def ask() -> None:
        while not done:
            route = traffic.route("tiny", "key")
            await asyncio.sleep(LINGER_S / 10)  # the body comes in
            job = Job("predict", route.version.digest, image, {}, time.monotonic() + 60)
            engine.submit([job])
            await job.answer
            answered.append(route.version.digest)

    done, answered = False, list[str]()
    await engine.start()
    try:
        traffic.serve(replace(await open_version("tiny", bundles[0], "0"), version="0"))
        exchange = VersionExchange(engine, traffic, open_version, LINGER_S)
        asking = asyncio.create_task(ask())
        for turn in range(1, turns + 1):
            found = ResolvedVersion(str(turn % 2), bundles[turn % 2])
            await exchange.take("tiny", "champion", found)
            count = len(answered)
            while len(answered) < count + 3:
                await asyncio.sleep(0.01)
                assert not asking.done() or asking.result() is None
            await asyncio.sleep(LINGER_S * (turn % 3))
        done = True
        await asking
        await asyncio.sleep(LINGER_S * 4)
        assert len(set(answered)) == 2
        return engine.digests
    finally:
        await engine.stop(5)


def test_the_old_version_is_closed_and_no_request_meets_a_closed_one(
    images: list[Path], tmp_path: Path
) -> None:
    bundles = [write_version(tmp_path / str(seed), seed) for seed in range(2)]
    paths = [bundle.path for bundle in bundles]
    left = asyncio.run(take_turns(paths, images[0].read_bytes(), turns=12))
    assert left == {bundles[0].sha256}


def test_a_version_that_is_needed_again_stays_open(images: list[Path], tmp_path: Path) -> None:
    bundle = write_version(tmp_path / "bundle", 0)

    async def close(is_needed: bool) -> set[str]:
        engine = WorkerPool(EngineSettings(workers=1))
        await engine.start()
        try:
            opened = await engine.open(str(bundle.path))
            late = Job("predict", opened.digest, images[0].read_bytes(), {}, 0.0)
            engine._background.append(late)  # of a shadow that stands still
            late.fail(DeadlineExceeded("late"))
            closing = engine.close_bundle(opened.digest, lambda digest: is_needed)
            await asyncio.wait_for(closing, 5)
            return engine.digests
        finally:
            await engine.stop(1)

    assert asyncio.run(close(is_needed=True)) == {bundle.sha256}
    assert asyncio.run(close(is_needed=False)) == set()


def test_a_worker_that_cannot_open_says_so_whatever_it_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise MemoryError

    monkeypatch.setattr(worker, "load", fail)
    output = io.BytesIO()
    worker.Worker(output)._open({"id": 7, "path": str(tmp_path), "digest": ""})
    output.seek(0)
    header, _ = read_frame_blocking(output)
    assert (header["id"], header["status"], header["problem"]) == (7, "refused", "MemoryError")


def test_a_watch_goes_on_after_what_it_did_not_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_exchange, "POLL_S", 0.01)
    looks = 0

    async def look(self: VersionWatch) -> None:
        nonlocal looks
        looks += 1
        raise RuntimeError("once") if looks == 1 else asyncio.CancelledError

    monkeypatch.setattr(VersionWatch, "look", look)
    exchange: Any = None  # nothing asks it
    watch = VersionWatch(exchange, exchange, "tiny", "champion", exchange)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch.run())
    assert looks == 2


def test_a_worker_is_replaced_as_soon_as_the_system_gives_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = 0

    async def start(self: WorkerProcess) -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(WorkerProcess, "start", start)
    asyncio.run(WorkerPool(EngineSettings(workers=1))._start_another(False))
    assert tried == 3
