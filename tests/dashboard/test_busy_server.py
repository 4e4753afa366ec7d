"""A gallery on a server whose queue is full waits for its thumbnails, and leaves others room."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from holotype.dashboard_pages import classifiers
from holotype.dashboard_pages.data.thumbnails import MAX_DRAWN, thumbnail_of
from holotype.serving.engine.job import Job, JobAnswer, QueueFull
from holotype.serving.http.problems import Problem

GALLERY = 48  # thumbnails that a page asks for at once


class FullEngine:
    """A queue with room for so many jobs; an image is answered in each turn of the event loop."""

    def __init__(self, room: int) -> None:
        self.room, self.most, self.refused = room, 0, 0
        self.waiting: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        if len(self.waiting) + len(jobs) > self.room:
            self.refused += 1
            raise QueueFull(1)
        self.waiting += jobs
        self.most = max(self.most, len(self.waiting))
        asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        job = self.waiting.pop(0)
        job.answer.set_result(JobAnswer({"media_type": "image/png"}, [memoryview(b"x")], 0, 0))


def draw(engine: FullEngine, folder: Path) -> list[Any]:
    """All thumbnails of a gallery at once."""
    files = [folder / f"{n}.png" for n in range(GALLERY)]
    for file in files:
        Image.new("L", (4, 4)).save(file)
    service = SimpleNamespace(engine=engine)
    dashboard = SimpleNamespace(service=service, kept={})
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(dashboard=dashboard)))

    async def ask() -> list[Any]:
        drawn = (thumbnail_of(request, file, 160, bits=8) for file in files)
        return await asyncio.gather(*drawn, return_exceptions=True)

    return asyncio.run(ask())


def test_every_thumbnail_comes_though_the_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "PAUSE_S", 0.001)
    engine = FullEngine(room=2)
    assert draw(engine, tmp_path) == [(b"x", "image/png")] * GALLERY
    assert engine.refused > 0
    assert engine.most == 2


def test_a_gallery_leaves_room_in_the_queue(tmp_path: Path) -> None:
    engine = FullEngine(room=1000)
    assert draw(engine, tmp_path) == [(b"x", "image/png")] * GALLERY
    assert engine.most <= MAX_DRAWN


def test_a_queue_without_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "WAIT_S", 0.01)
    monkeypatch.setattr(classifiers, "PAUSE_S", 0.001)
    refusals = draw(FullEngine(room=0), tmp_path)
    assert all(isinstance(one, Problem) for one in refusals)
    assert {(one.status, one.headers["Retry-After"]) for one in refusals} == {(503, "1")}
