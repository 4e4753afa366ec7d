"""Server-sent events: values as they come, a sign of life, and an end when the server stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request

from holotype.dashboard_pages import events
from holotype.dashboard_pages.events import event_stream
from holotype.dashboard_pages.page import page_router
from tests.dashboard.browsing import Visit


def stream(visit: Visit, values: AsyncIterator[tuple[str, Any]]) -> str:
    """What a browser is sent."""
    router = page_router("moving")

    @router.get("/")
    def send(request: Request) -> object:
        return event_stream(request, values)

    visit.app.include_router(router)
    visit.get("/dashboard/moving/")
    assert visit.answer.headers["content-type"].startswith("text/event-stream")
    assert visit.answer.headers["cache-control"] == "no-store"
    assert visit.answer.headers["x-accel-buffering"] == "no"
    return str(visit.answer.text)


def test_values_come_as_json_and_the_end_is_told(visit: Visit) -> None:
    async def values() -> AsyncIterator[tuple[str, Any]]:
        yield "epoch", {"loss": 0.5, "name": "a\nb</script>"}
        yield "log", ["x"]

    blocks = [block.split("\n") for block in stream(visit, values()).strip().split("\n\n")]
    assert blocks[0] == ["retry: 2000"]
    assert blocks[1][0] == "event: epoch"
    assert json.loads(blocks[1][1].removeprefix("data: "))["name"] == "a\nb</script>"
    assert blocks[2] == ["event: log", 'data: ["x"]']
    assert blocks[3][0] == "event: end"


def test_a_quiet_stream_shows_signs_of_life(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.0)

    async def values() -> AsyncIterator[tuple[str, Any]]:
        await asyncio.sleep(0.6)
        yield "late", 1

    text = stream(visit, values())
    assert text.count(": still here") >= 1
    assert text.index(": still here") < text.index("event: late")


def test_a_stream_ends_when_the_server_stops(visit: Visit) -> None:
    closed = []

    async def values() -> AsyncIterator[tuple[str, Any]]:
        try:
            yield "first", 1
            visit.app.state.service.stopping = True
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    text = stream(visit, values())
    assert "event: first" in text
    assert "event: end" not in text
    assert closed == [True]
