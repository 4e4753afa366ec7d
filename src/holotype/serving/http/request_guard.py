"""What every request passes first: host, size and pace; and the headers of every response.

Below FastAPI, as ASGI, so that a body that is too large or too slow is refused while it arrives,
whatever would read it.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holotype.serving.http.problems import Problem
from holotype.serving.http.prometheus_metrics import Metrics
from holotype.serving.server_settings import LOOPBACK, RequestLimits, ServerSettings
from holotype.serving.traffic.recent_answers import new_request_id

LOGGER = logging.getLogger("holotype.serve")
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class RequestGuard:
    """Refuses what may not come in, and gives each request an id.

    The id is in `scope["state"]["request_id"]`, and in the response as `x-request-id`; a
    `traceparent` that came is answered with one of the same trace.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._limits = settings.limits
        self._metrics = metrics
        self._hosts = {
            name.strip("[]").lower() for name in (*LOOPBACK, settings.host, *settings.allowed_hosts)
        }
        self._budget = BodyBudget(settings.engine.max_queue_mib << 20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        request_id = new_request_id(secrets.token_hex(10))
        scope.setdefault("state", {})["request_id"] = request_id
        headers = Headers(scope=scope)
        extra = {**SECURITY_HEADERS, "x-request-id": request_id, **dict(_trace(headers))}
        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                response = MutableHeaders(scope=message)
                for name, value in extra.items():
                    response.setdefault(name, value)
                if not body.complete:  # what was not read of it is not waited for
                    response["connection"] = "close"
            await send(message)

        body = GuardedBody(receive, self._limits, self._budget)
        try:
            self._check(headers)
            body.check_length(headers)
            await self._app(scope, body.receive, send_with_headers)
        except Problem as problem:
            if not answered:
                await problem.response(request_id)(scope, receive, send_with_headers)
        except Exception:
            LOGGER.exception("request %s failed", request_id)
            if not answered:
                failed = Problem("internal_error")
                await failed.response(request_id)(scope, receive, send_with_headers)
        finally:
            body.release()
            seconds = time.perf_counter() - started
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.count_request(scope["method"], path, status, seconds)

    def _check(self, headers: Headers) -> None:
        host = HOST.fullmatch(headers.get("host", ""))
        if host is None or host[1].strip("[]").lower() not in self._hosts:
            raise Problem("wrong_host")


class BodyBudget:
    """The bytes of all bodies that are held at once."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, count: int) -> None:
        """Raises Problem where there is no room."""
        if count > self._left:
            raise Problem("overloaded", headers={"Retry-After": "1"})
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count


class GuardedBody:
    """A body that is counted and timed as it arrives."""

    def __init__(self, receive: Receive, limits: RequestLimits, budget: BodyBudget) -> None:
        self._receive = receive
        self._max_bytes = limits.max_body_mib << 20
        self._timeout_s = limits.body_timeout_s
        self._ends = time.monotonic() + limits.body_timeout_s
        self._budget = budget
        self._held = 0
        self.complete = False

    def check_length(self, headers: Headers) -> None:
        """Refuse a body that says itself that it is too large."""
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Problem("bad_request")
        if int(length) > self._max_bytes:
            raise self._too_large()
        self.complete = length == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._ends - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Problem("slow_body") from None
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self._budget.take(count)
            self._held += count
            if self._held > self._max_bytes:
                raise self._too_large()
            self.complete = not message.get("more_body", False)
        return message

    def release(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0

    def _too_large(self) -> Problem:
        return Problem("body_too_large", f"At most {self._max_bytes >> 20} MiB are read.")


def _trace(headers: Headers) -> Iterable[tuple[str, str]]:
    found = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return ()
    return (("traceparent", f"00-{found[1]}-{secrets.token_hex(8)}-{found[3]}"),)
