"""A replaced version is closed when nothing can ask it, and not while it is taken again."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from holotype.serving.deployment import ModelVersion, model_version
from holotype.serving.engine.job import Job
from holotype.serving.engine.worker_pool import EngineSettings, WorkerPool
from holotype.serving.traffic.version_exchange import VersionExchange
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
