"""One worker process, seen from the server."""

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from holotype.errors import BundleError
from holotype.serving.engine.frames import BACKGROUND, Header, frame, read_frame, split
from holotype.serving.engine.job import (
    DeadlineExceeded,
    ImageRefused,
    Job,
    JobAnswer,
    JobRefused,
    WorkerDied,
)

PREFETCHED = 2  # jobs that a worker holds: the next one is there when it has answered
PIPE_BYTES = 1 << 20

# One thread for each worker, whatever a library would like to start.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class OpenedBundle:
    """What a worker found when it opened a bundle: verified bytes of the manifest, and its place.

    Attributes:
        digest: of the bundle.
        path: the directory of the bundle.
        manifest: the bytes of `manifest.json`.
        image_ms: how long one image took, after warming up.
    """

    def __init__(self, facts: Header, manifest: bytes) -> None:
        self.digest: str = facts["digest"]
        self.path = Path(facts["path"])
        self.manifest = manifest
        self.image_ms: float = facts["ms"]


class WorkerProcess:
    """A process that answers jobs in their order, and opens bundles meanwhile.

    Args:
        on_idle: called when it has answered.
        is_background: takes background jobs only, on what the others leave of the processor.
    """

    def __init__(self, on_idle: Callable[[], None], *, is_background: bool = False) -> None:
        self._on_idle = on_idle
        self.is_background = is_background
        self._process: asyncio.subprocess.Process | None = None
        self._jobs: deque[tuple[int, Job, float]] = deque()
        self._openings: dict[int, asyncio.Future[OpenedBundle]] = {}
        self._next_id = 0
        self._paused = False
        self.bundles: set[str] = set()
        self.started = time.monotonic()
        self.image_s = 0.05  # a running mean of the time that an image takes

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def load(self) -> int:
        """How many jobs it holds."""
        return len(self._jobs)

    @property
    def jobs(self) -> list[Job]:
        """What it holds; it works on the first."""
        return [job for _, job, _ in self._jobs]

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; not before `start` has returned, and not once it has ended."""
        return self._process is not None and self._process.returncode is None

    def may_take(self, job: Job) -> bool:
        """Whether it can hold one more job; a second one only behind a quick one."""
        if not self.is_alive:  # nothing that it was sent now would ever be answered
            return False
        if len(self._jobs) >= PREFETCHED or (job.digest and job.digest not in self.bundles):
            return False
        if job.background != self.is_background:
            return False
        return not self._jobs or not self._jobs[0][1].is_slow

    def head_since(self) -> float | None:
        """Since when it works on its job; None where it has none, or is paused."""
        return self._jobs[0][2] if self._jobs and not self._paused else None

    async def start(self) -> None:
        """Start the process; its messages are read by `run`."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holotype.serving.engine.worker",
            *([BACKGROUND] if self.is_background else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            limit=PIPE_BYTES,
        )

    async def run(self) -> None:
        """Read answers until the process ends; then its job fails, and those behind it are left.

        Returns once the process has ended.
        """
        process = self._started()
        stdout = process.stdout
        assert stdout is not None
        try:
            while True:
                header, body = await read_frame(stdout)
                self._received(header, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.kill()
            await process.wait()
            self.bundles.clear()
            error = WorkerDied("the process that worked on this image ended; send it again.")
            if self._jobs:
                self._jobs.popleft()[1].fail(error)
            for opening in self._openings.values():
                if not opening.done():
                    opening.set_exception(BundleError("the process that opened the bundle ended."))
            self._openings.clear()

    def take_unbegun(self) -> list[Job]:
        """The jobs that a dead worker had not begun."""
        jobs = [job for _, job, _ in self._jobs]
        self._jobs.clear()
        return jobs

    def send(self, job: Job) -> None:
        """Hand over a job; its answer is set when it comes."""
        number = self._number()
        self._jobs.append((number, job, time.monotonic()))
        self._write({**job.header, "id": number}, job.content)

    async def open(self, path: str, digest: str = "") -> OpenedBundle:
        """Open a bundle in the process.

        Args:
            digest: which one it must be; any where it is empty.

        Raises:
            BundleError: it cannot be opened, or is another one, or the process has ended.
        """
        if not self.is_alive:
            raise BundleError(
                f"{path!r} was not opened: the worker process has ended and is being replaced; "
                "try again in a moment."
            )
        number = self._number()
        opening = asyncio.get_running_loop().create_future()
        self._openings[number] = opening
        self._write({"task": "open", "id": number, "path": path, "digest": digest})
        opened: OpenedBundle = await opening
        self.bundles.add(opened.digest)
        self._on_idle()
        return opened

    def close_bundle(self, digest: str) -> None:
        """Let go of a bundle, after the jobs that were sent before."""
        if digest in self.bundles:
            self.bundles.discard(digest)
            self._write({"task": "close", "digest": digest})

    def end_input(self) -> None:
        """The process ends when it has answered what it holds."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def pause(self, wanted: bool) -> None:
        """Stop a background process where it stands, or let it go on; on Linux alone.

        There the system ends it with the server, even while it is stopped.
        """
        if wanted == self._paused or not self.is_alive or sys.platform != "linux":
            return
        self._paused = wanted
        os.kill(self.pid, signal.SIGSTOP if wanted else signal.SIGCONT)
        if self._jobs and not wanted:
            number, job, _ = self._jobs[0]
            self._jobs[0] = number, job, time.monotonic()  # it does not hang, it was stopped

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _started(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "start() comes first"
        return self._process

    def _number(self) -> int:
        self._next_id += 1
        return self._next_id

    def _write(self, header: Header, body: bytes = b"") -> None:
        stdin = self._started().stdin
        assert stdin is not None
        if not stdin.is_closing():
            stdin.writelines(frame(header, [body] if body else []))

    def _received(self, header: Header, body: bytes) -> None:
        parts = split(header, body)
        opening = self._openings.pop(header["id"], None)
        if opening is not None:
            if opening.done():
                return
            if header["status"] == "opened":
                opening.set_result(OpenedBundle(header, bytes(parts[0])))
            else:
                opening.set_exception(BundleError(header["message"]))
            return
        number, job, handed = self._jobs.popleft()
        assert number == header["id"]
        self._settle(job, header, parts, handed)
        self._on_idle()

    def _settle(self, job: Job, header: Header, parts: list[memoryview], handed: float) -> None:
        match header["status"]:
            case _ if job.answer.done():  # the client has left
                pass
            case "answered":
                self.image_s += 0.1 * (header["run_ms"] / 1000 - self.image_s)
                waited = (time.monotonic() - job.arrived) * 1000 - header["run_ms"]
                job.answer.set_result(JobAnswer(header, parts, waited, header["run_ms"]))
            case "image_refused":
                job.fail(ImageRefused(header["problem"], header["detail"]))
            case "expired":
                job.fail(DeadlineExceeded("the image was not begun before its deadline."))
            case _:
                job.fail(JobRefused(header["message"]))
