"""What every request passes first: host, key, size and pace; and the headers of every response.

Below FastAPI, as ASGI, so that a body that is too large or too slow is refused while it arrives,
whatever would read it.
"""

import asyncio
import logging
import re
import secrets
import sys
import time
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holotype.serving.http.keys import Key, Keys
from holotype.serving.http.problems import Problem
from holotype.serving.http.request_body import MAX_TEXT_BYTES
from holotype.serving.http.service import PAGES, Service
from holotype.serving.server_settings import LOOPBACK
from holotype.serving.traffic.recent_answers import new_request_id

LOGGER = logging.getLogger("holotype.serve")
OPEN_PATHS = ("/healthz", "/readyz", "/openapi.json")  # for whoever asks
IMAGE_PATHS = "/v1/models/"
TEXT_PATHS = ("/v1/feedback", f"{PAGES}login")  # without images; the login is open to whoever asks
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
KEEP_READING = 1 << 20
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class RequestGuard:
    """Refuses what may not come in, and gives each request an id.

    The id is in `scope["state"]["request_id"]`, and in the response as `x-request-id`; a
    `traceparent` that came is answered with one of the same trace.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        settings = service.settings
        self._app = app
        self._service = service
        self._limits = settings.limits
        self._hosts = {
            name.strip("[]").lower()
            for name in (*LOOPBACK, settings.host, *settings.proxy.allowed_hosts)
        }
        self._budget = BodyBudget(settings.engine.max_queue_mib << 20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = new_request_id()
        headers = Headers(scope=scope)
        extra = [*SECURITY_HEADERS, (b"x-request-id", request_id.encode()), *_trace(headers)]
        path = scope["path"].removeprefix(self._service.settings.proxy.root_path)
        max_bytes = MAX_TEXT_BYTES if path in TEXT_PATHS else self._limits.max_body_mib << 20
        body = GuardedBody(receive, max_bytes, self._limits.body_timeout_s, self._budget)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = message["headers"] = list(message.get("headers", ()))
                names = {name for name, _ in own}
                own += [pair for pair in extra if pair[0] not in names]
                if body.is_long:  # what was not read of it is not waited for
                    own.append((b"connection", b"close"))
            await send(message)

        try:
            self._check_host(headers)
            _check_site(scope, headers)
            if not self._service.is_page(scope):
                state["key"] = key_of(headers, scope["path"], self._service.keys)
            body.check_length(headers)
            self._check_room(scope)
            await self._app(scope, body.receive, send_with_headers)
        except Problem as problem:
            if not status:
                await self._service.refusal(scope, problem)(scope, receive, send_with_headers)
        except Exception:
            LOGGER.exception("request %s failed", request_id)
            if not status:
                failed = self._service.refusal(scope, Problem("internal_error"))
                await failed(scope, receive, send_with_headers)
        finally:
            body.release()
            seconds = time.perf_counter() - started
            path = getattr(scope.get("route"), "path", "other")
            self._service.metrics.count_request(scope["method"], path, status or 499, seconds)

    def _check_host(self, headers: Headers) -> None:
        host = HOST.fullmatch(headers.get("host", ""))
        if host is None or host[1].strip("[]").lower() not in self._hosts:
            raise Problem("wrong_host")

    def _check_room(self, scope: Scope) -> None:
        """Refuse images here while the queue is full: a refusal must cost next to nothing."""
        engine = self._service.engine
        sends_images = scope["method"] == "POST" and scope["path"].startswith(IMAGE_PATHS)
        if sends_images and not engine.has_room:
            raise Problem("overloaded", headers={"Retry-After": str(engine.retry_after_s)})


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

    def __init__(
        self, receive: Receive, max_bytes: int, timeout_s: float, budget: BodyBudget
    ) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._ends = time.monotonic() + timeout_s
        self._budget = budget
        self._held = 0
        self._expected = 0
        self.complete = False

    @property
    def is_long(self) -> bool:
        """Whether more of it is to come than is worth reading, to keep the connection."""
        return not self.complete and self._expected - self._held > KEEP_READING

    def check_length(self, headers: Headers) -> None:
        """Refuse a body that says itself that it is too large."""
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Problem("bad_request")
        if len(length) > len(str(sys.maxsize)):  # int() takes no more than 4,300 digits
            raise self._too_large()
        self._expected = int(length) if "transfer-encoding" not in headers else sys.maxsize
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
        kib = self._max_bytes >> 10
        most = f"{kib >> 10} MiB" if kib >= 1024 else f"{kib} KiB"
        return Problem("body_too_large", f"At most {most} are read.")


def _check_site(scope: Scope, headers: Headers) -> None:
    """Refuse what a page of another site sends by the browser of somebody who may ask.

    Where no key is needed nothing else would tell it from a program of this machine.
    """
    if scope["method"] not in SAFE_METHODS and headers.get("sec-fetch-site") == "cross-site":
        raise Problem("cross_site")


def key_of(headers: Headers, path: str, keys: Keys | None) -> Key | None:
    """The key that came with a request; None where none is needed.

    Raises:
        Problem: 401 without a valid key, 429 beyond its rate.
    """
    if keys is None or path in OPEN_PATHS:
        return None
    scheme, _, presented = headers.get("authorization", "").partition(" ")
    key = keys.find(presented.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Problem("unauthorised", headers={"WWW-Authenticate": "Bearer"})
    if wait_s := keys.wait_s(key):
        raise Problem("too_many_requests", headers={"Retry-After": str(wait_s)})
    return key


def _trace(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    found = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return ()
    trace = f"00-{found[1]}-{secrets.token_hex(8)}-{found[3]}"
    return ((b"traceparent", trace.encode()),)
