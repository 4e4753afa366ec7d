"""Server-sent events: what moves on a page while it is open.

In the browser: `new EventSource(url)`, which connects again by itself when the server is restarted.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from holotype.serving.http.service import service_of

HEARTBEAT_S = 15.0  # a proxy ends a connection on which nothing comes for a minute
LOOK_S = 0.25  # whether the server is told to stop


def event_stream(request: Request, values: AsyncIterator[tuple[str, Any]]) -> Response:
    """Send values as they come, until they end, the visitor leaves, or the server stops.

    Args:
        values: the name of each event, and what is sent with it as JSON.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx passes on at once
    return StreamingResponse(
        _lines(request, values), media_type="text/event-stream", headers=headers
    )


async def _lines(request: Request, values: AsyncIterator[tuple[str, Any]]) -> AsyncIterator[str]:
    service, loop = service_of(request), asyncio.get_running_loop()
    yield "retry: 2000\n\n"
    coming: asyncio.Future[tuple[str, Any]] = asyncio.ensure_future(anext(values))
    quiet_since = loop.time()
    try:
        while not service.stopping:
            await asyncio.wait({coming}, timeout=LOOK_S)
            if coming.done():
                try:
                    name, value = coming.result()
                except StopAsyncIteration:
                    yield "event: end\ndata: null\n\n"  # so that the browser does not come again
                    return
                yield f"event: {name}\ndata: {json.dumps(value)}\n\n"
                coming = asyncio.ensure_future(anext(values))
                quiet_since = loop.time()
            elif loop.time() - quiet_since >= HEARTBEAT_S:
                yield ": still here\n\n"
                quiet_since = loop.time()
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await coming
