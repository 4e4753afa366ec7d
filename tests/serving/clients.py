"""Clients that ask one server without end, each on its own connection, and keep what came back."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.serving.running import Running
from tests.serving.versions import ask


@dataclass(frozen=True)
class Reply:
    """One answer; a status of 0 is a connection that ended."""

    image: int
    status: int
    received_s: float
    request_id: str = ""
    digest: str = ""
    label: str = ""
    probability: float = 0.0


@dataclass
class Clients:
    """What clients got so far."""

    replies: list[Reply] = field(default_factory=list)

    def wait_for(self, count: int, timeout_s: float = 30.0) -> None:
        """Until so many further replies came."""
        wanted, deadline = len(self.replies) + count, time.monotonic() + timeout_s
        while len(self.replies) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@contextmanager
def clients(server: Running, images: Sequence[Path], count: int = 3) -> Iterator[Clients]:
    """So many clients, until the block ends."""
    found, stop = Clients(), threading.Event()

    def run(number: int) -> None:
        with httpx.Client(timeout=60) as connection:
            while not stop.is_set():
                number = (number + 1) % len(images)
                try:
                    answer = ask(server, images[number], client=connection)
                except httpx.HTTPError:
                    found.replies.append(Reply(number, 0, time.time()))
                    time.sleep(0.01)
                    continue
                found.replies.append(_reply(number, answer))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _reply(image: int, answer: httpx.Response) -> Reply:
    now = time.time()
    if answer.status_code != 200:
        return Reply(image, answer.status_code, now)
    body = answer.json()
    (prediction,) = body["predictions"]
    return Reply(
        image, 200, now, body["request_id"], body["digest"], prediction["class"],
        prediction["probability"],
    )  # fmt: skip
