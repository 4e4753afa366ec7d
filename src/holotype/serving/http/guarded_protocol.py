"""HTTP connections with a limit for the time and the size of headers, and for their number.

uvicorn calls the application when the headers of a request are complete, so a client that sends
them a byte at a time is seen here only. A connection that is closed while its client still sends
is read for a moment longer: else the reset would overtake the response that says why.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holotype.serving.server_settings import RequestLimits

LINGER_S = 2.0
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"retry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection; `limits` is set by the class that `guarded_protocol` makes."""

    limits: RequestLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._header_bytes = self._raw_bytes = 0
        self._discards = False
        self._message_complete = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_LingeringTransport(transport, self))  # type: ignore[arg-type]
        if len(self.connections) > self.limits.max_connections:
            self._refuse(TOO_MANY)
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discards or self.parser is None:
            return
        super().data_received(data)
        if self._in_headers:  # one header may be as long as all that came
            self._raw_bytes += len(data)
            self._check_size()

    def on_url(self, url: bytes) -> None:
        self._header_bytes += len(url)
        super().on_url(url)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._message_complete = True, False
        self._header_bytes = self._raw_bytes = 0
        self._arm()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if not self._in_headers:  # a trailer, which may come for as long as a body may
            self._check_size()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm()
        self._check_size()
        if not self._discards:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._discards:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._message_complete = True
        self._disarm()
        if not self._discards:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.still_receives:  # the rest of a body that nobody reads
            self._arm(self.transport.close)

    def discard(self) -> None:
        """Read on, and keep nothing."""
        self._discards = True

    @property
    def still_receives(self) -> bool:
        """Whether the client has not sent all of its request."""
        return not self._message_complete

    def _check_size(self) -> None:
        # What came has separators too, and the end of a body that came before.
        if max(self._header_bytes, self._raw_bytes // 2) > self.limits.max_header_kib << 10:
            self._refuse(TOO_LARGE)

    def _arm(self, then: Callable[[], None] | None = None) -> None:
        if self._timer is None:
            then = then or partial(self._refuse, TOO_SLOW)
            self._timer = self.loop.call_later(self.limits.header_timeout_s, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, response: bytes) -> None:
        self._disarm()
        self._discards = True
        if not self.transport.is_closing():
            self.transport.write(response)
            self.transport.close()


class _LingeringTransport:
    """A transport whose `close` lets the client read the response first."""

    def __init__(self, transport: asyncio.Transport, protocol: GuardedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._closing = True
        if self._protocol.still_receives and self._transport.can_write_eof():
            self._protocol.discard()
            self._transport.write_eof()
            self._transport.resume_reading()
            self._protocol.loop.call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()


def guarded_protocol(limits: RequestLimits) -> type[GuardedProtocol]:
    """The class of the connections of one server."""
    return type("LimitedProtocol", (GuardedProtocol,), {"limits": limits})
