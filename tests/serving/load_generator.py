"""A load generator that costs little: prepared requests over raw connections.

`closed_loop` has so many clients, each of which waits for its answer; `open_loop` sends at a rate,
whatever comes back, and counts latency from the moment a request was due.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Outcome:
    """What came back.

    Attributes:
        statuses: by status; 0 where the connection ended.
        latency_s: of each answered request, by status.
        seconds: how long the load ran.
        cpu_s: processor seconds of the generator.
        bodies: of the answers, where they are kept.
        without_retry: 503 without `Retry-After`.
        late_s: how much later than asked for the generator itself was woken: what a busy machine
            adds to every latency, on each side.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latency_s: dict[int, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_s: float = 0.0
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    without_retry: int = 0
    late_s: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.statuses[200] / self.seconds

    def late_ms(self, percent: float) -> float:
        return float(np.percentile(self.late_s, percent)) * 1000

    def percentile_ms(self, percent: float, status: int = 200) -> float:
        return float(np.percentile(self.latency_s.get(status, [float("nan")]), percent)) * 1000


def http_request(
    path: str, content: bytes, kind: str = "image/png", headers: str = "", host: str = "127.0.0.1"
) -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(content)}\r\n{headers}\r\n"
    )
    return head.encode() + content


class Connection(asyncio.Protocol):
    """One connection that is kept open; one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((0, b"", b""))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        start = lower.find(b"content-length:")
        length = int(lower[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(rest) < length or self._answer is None or self._answer.done():
            return
        self._buffer = rest[length:]
        self._answer.set_result((int(head[9:12]), lower, rest[:length]))

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body."""
        if self.transport is None:
            return 0, b"", b""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


class Load:
    """Requests to one server, and what came of them."""

    def __init__(self, port: int, requests: Sequence[bytes], *, keep_bodies: bool = False) -> None:
        self._port = port
        self._requests = requests
        self._keep = keep_bodies
        self._idle: list[Connection] = []
        self.outcome = Outcome()

    async def one(self, number: int, due: float) -> None:
        connection = self._idle.pop() if self._idle else None
        if connection is None or connection.transport is None:
            connection = await self._connect()
        status, head, body = 0, b"", b""
        if connection is not None:
            status, head, body = await connection.ask(self._requests[number % len(self._requests)])
            if connection.transport is not None and b"connection: close" not in head:
                self._idle.append(connection)
        self.outcome.statuses[status] += 1
        self.outcome.latency_s.setdefault(status, []).append(time.perf_counter() - due)
        if status == 503 and b"retry-after:" not in head:
            self.outcome.without_retry += 1
        if self._keep:
            self.outcome.bodies.append((number, body))

    async def _connect(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        except OSError:
            return None
        return connection

    async def closed_loop(self, clients: int, seconds: float) -> Outcome:
        ends, numbers = time.perf_counter() + seconds, iter(range(10**9))

        async def client() -> None:
            while time.perf_counter() < ends:
                await self.one(next(numbers), time.perf_counter())

        return await self._timed(asyncio.gather(*(client() for _ in range(clients))))

    async def open_loop(self, rate: float, seconds: float, seed: int = 0) -> Outcome:
        """Arrivals of a Poisson process."""

        async def arrivals() -> None:
            gaps, tasks = random.Random(seed), []
            started = due = time.perf_counter()
            number = 0
            while due - started < seconds:
                due += gaps.expovariate(rate)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.append(asyncio.create_task(self.one(number, due)))
                number += 1
            await asyncio.gather(*tasks)

        return await self._timed(asyncio.ensure_future(arrivals()), seconds)

    async def _measure_lateness(self) -> None:
        while True:
            due = time.perf_counter() + 0.02
            await asyncio.sleep(0.02)
            self.outcome.late_s.append(time.perf_counter() - due)

    async def _timed(self, work: "asyncio.Future[object]", seconds: float = 0.0) -> Outcome:
        started, cpu = time.perf_counter(), time.process_time()
        control = asyncio.create_task(self._measure_lateness())
        await work
        control.cancel()
        self.outcome.seconds = seconds or time.perf_counter() - started
        self.outcome.cpu_s = time.process_time() - cpu
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        return self.outcome
