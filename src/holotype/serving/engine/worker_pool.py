"""The engine: worker processes behind one queue that is bounded in images and in bytes.

    submit ─► queue ─► worker 1 ─► answers
                  └──► worker 2

A job that finds the queue full is refused at once. One whose caller has left, or whose deadline has
passed, is dropped when its turn comes. A worker that ends costs the job that it worked on; it is
replaced, and opens what is in service.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass

from holotype.errors import BundleError
from holotype.serving.engine.job import DeadlineExceeded, Job, QueueFull
from holotype.serving.engine.usable_cores import usable_cores
from holotype.serving.engine.worker_process import OpenedBundle, WorkerProcess

HANGS_AFTER_S = 120.0  # no image takes so long
LONGEST_PAUSE_S = 10.0  # between two attempts to start a worker
TICK_S = 0.1
MAX_BACKGROUND = 8  # images that wait for what others leave of the processor

LOGGER = logging.getLogger("holotype.serve")


@dataclass(frozen=True)
class EngineSettings:
    """Sizes of the engine.

    Attributes:
        workers: processes that decode and run; None: one for each core that may be used.
        max_queue_images: images that wait.
        max_queue_mib: MiB of files that wait.
        deadline_s: how long an image may wait.
        shadow_worker: whether a further process, of the lowest priority, runs background jobs
            while three quarters of the others are idle; without it they are not run.
    """

    workers: int | None = None
    max_queue_images: int = 128
    max_queue_mib: int = 256
    deadline_s: float = 10.0
    shadow_worker: bool = False


class WorkerPool:
    """Worker processes and their queue; all methods are called from one event loop."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.num_workers = settings.workers or usable_cores()
        self.deaths = 0
        self._queue: deque[Job] = deque()
        self._slow: deque[Job] = deque()  # maps take seconds: images do not wait behind them
        self._background: deque[Job] = deque()
        self._bytes = 0
        self._in_service: dict[str, str] = {}  # digest -> path
        self._opening_in_background: set[str] = set()
        self._workers: list[WorkerProcess] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    # What the server asks of it

    async def start(self) -> None:
        """Start the workers, and wait until each can open bundles."""
        kinds = [False] * self.num_workers + [True] * self.settings.shadow_worker
        self._workers = [WorkerProcess(self._dispatch, is_background=kind) for kind in kinds]
        for place in range(len(kinds)):
            await self._workers[place].start()
            self._spawn(self._keep_alive(place))
        self._spawn(self._watch_deadlines())

    async def stop(self, grace_s: float) -> None:
        """Answer what waits for at most so long, then end the workers."""
        ends = time.monotonic() + grace_s
        while (self.waiting or self.running) and time.monotonic() < ends:
            await asyncio.sleep(0.02)
        self._stopping = True
        for worker in self._workers:
            worker.pause(False)
            worker.end_input()
        await asyncio.sleep(0)
        _, late = await asyncio.wait(self._tasks, timeout=1.0) if self._tasks else (None, set())
        for worker in self._workers:
            worker.kill()
        for task in late:
            task.cancel()

    async def open(self, path: str) -> OpenedBundle:
        """Open a bundle in every worker, while they answer; afterwards it can be asked.

        Raises:
            BundleError: it cannot be opened.
        """
        first = await self._any_worker().open(path)
        self._in_service[first.digest] = str(first.path)
        others = [worker for worker in self._foreground if first.digest not in worker.bundles]
        opened = [worker.open(str(first.path), first.digest) for worker in others]
        for found in await asyncio.gather(*opened, return_exceptions=True):
            if isinstance(found, BaseException):  # a worker that ended opens it when it is back
                LOGGER.warning("a worker could not open %s: %s", first.path, found)
        return first

    @property
    def digests(self) -> set[str]:
        """Of the bundles that are open."""
        return set(self._in_service)

    async def close_bundle(
        self, digest: str, is_needed: Callable[[str], bool] = lambda digest: False
    ) -> None:
        """Let go of a bundle when the jobs that were submitted for it are answered.

        Args:
            is_needed: asked then; what is needed again stays open.
        """
        while any(job.digest == digest and not job.answer.done() for job in self._all_jobs()):
            await asyncio.sleep(0.02)
        if is_needed(digest):
            return
        self._in_service.pop(digest, None)
        for worker in self._workers:
            worker.close_bundle(digest)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs, all or none; each job's `answer` is set later.

        Raises:
            QueueFull: there is no room; of background jobs, already where anything waits.
        """
        size = sum(len(job.content) for job in jobs)
        waiting = self.waiting
        if jobs and jobs[0].background:
            self._require_background(jobs[0].digest, size)
            self._background.extend(jobs)
        else:
            if waiting and waiting + len(jobs) > self.settings.max_queue_images:
                raise QueueFull(self.retry_after_s)
            if self._bytes and self._bytes + size > self.settings.max_queue_mib << 20:
                raise QueueFull(self.retry_after_s)
            for job in jobs:
                (self._slow if job.is_slow else self._queue).append(job)
        self._bytes += size
        self._dispatch()

    @property
    def has_room(self) -> bool:
        """Whether one more image would be taken; asked before its body is read."""
        return self.waiting < self.settings.max_queue_images

    @property
    def ready(self) -> bool:
        """Whether a worker has everything open that is in service."""
        needed = set(self._in_service)
        return bool(needed) and any(needed <= worker.bundles for worker in self._foreground)

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return len(self._queue) + len(self._slow)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def running(self) -> int:
        """Images in workers; of background jobs nobody waits for the answer."""
        return sum(worker.load for worker in self._foreground)

    @property
    def workers_alive(self) -> int:
        return sum(bool(worker.bundles) for worker in self._foreground)

    @property
    def retry_after_s(self) -> int:
        """When the queue will have emptied, in whole seconds."""
        image_s = max((worker.image_s for worker in self._foreground), default=0.0)
        return max(1, math.ceil(self.waiting * image_s / self.num_workers))

    # How it works

    def _all_jobs(self) -> Iterable[Job]:
        yield from self._queue
        yield from self._slow
        yield from self._background
        for worker in self._workers:
            yield from worker.jobs

    @property
    def _slow_running(self) -> int:
        return sum(any(job.is_slow for job in worker.jobs) for worker in self._workers)

    def _any_worker(self) -> WorkerProcess:
        """The emptiest that is alive: one that is being replaced has no jobs, and opens nothing."""
        return min(self._foreground, key=lambda worker: (not worker.is_alive, worker.load))

    @property
    def _foreground(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if not worker.is_background]

    def _require_background(self, digest: str, size: int) -> None:
        """Refuse background jobs that must not be taken now.

        Raises:
            QueueFull: anything else waits, or the bundle is not open for them yet.
        """
        if self.waiting or len(self._background) >= MAX_BACKGROUND:
            raise QueueFull(1)
        if self._bytes + size > self.settings.max_queue_mib << 19:  # half of what may wait
            raise QueueFull(1)
        for worker in self._workers:
            if worker.is_background and digest in worker.bundles:
                return
            if worker.is_background and digest not in self._opening_in_background:
                self._opening_in_background.add(digest)
                self._spawn(self._open_in_background(worker, digest))
        raise QueueFull(1)

    async def _open_in_background(self, worker: WorkerProcess, digest: str) -> None:
        """Beside requests, and so perhaps for long: what is asked for until then is refused."""
        try:
            await worker.open(self._in_service[digest], digest)
        except (BundleError, KeyError) as error:
            LOGGER.warning("the shadow's bundle could not be opened: %s", error)
        finally:
            self._opening_in_background.discard(digest)

    def _dispatch(self) -> None:
        """Hand jobs to workers that have room, the emptiest first."""
        for queue in (self._queue, self._slow, self._background):
            while queue:
                job = queue[0]
                if job.answer.done():  # its client has left, or it is late
                    self._forget(queue)
                    continue
                if time.monotonic() > job.deadline:
                    self._forget(queue)
                    job.fail(DeadlineExceeded("the image was not begun before its deadline."))
                    continue
                able = [worker for worker in self._workers if worker.may_take(job)]
                if job.background or job.is_slow:
                    able = [worker for worker in able if not worker.load]
                if job.is_slow and self._slow_running >= max(1, self.num_workers - 1):
                    break
                if not able:
                    break
                self._forget(queue)
                min(able, key=lambda worker: worker.load).send(job)
        self._pause_background()

    def _pause_background(self) -> None:
        """The shadow runs while at most a quarter of the workers do: of two or three, none.

        Two logical processors often are one core, and all share caches and memory: a process of
        the lowest priority slows its neighbours although it never takes their turn.
        """
        busy = self.waiting > 0 or 4 * self.running > self.num_workers
        for worker in self._workers:
            if worker.is_background:
                worker.pause(busy and not self._stopping)

    def _forget(self, queue: deque[Job]) -> None:
        self._bytes -= len(queue.popleft().content)

    async def _keep_alive(self, place: int) -> None:
        """Run the worker of this place, and a new one whenever it ends."""
        pause_s = 0.0
        while True:
            worker = self._workers[place]
            await worker.run()
            if self._stopping:
                return
            self.deaths += 1
            unbegun = worker.take_unbegun()
            for job in reversed(unbegun):
                (self._background if job.background else self._queue).appendleft(job)
            self._bytes += sum(len(job.content) for job in unbegun)
            LOGGER.warning("worker %d ended; it is replaced", worker.pid)
            lived_s = time.monotonic() - worker.started
            pause_s = 0.0 if lived_s > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, 2 * pause_s + 0.1)
            await asyncio.sleep(pause_s)
            kind = worker.is_background
            self._workers[place] = await self._start_another(kind)
            if not kind:
                self._spawn(self._reopen(self._workers[place]))

    async def _start_another(self, is_background: bool) -> WorkerProcess:
        """A worker in place of one that has ended, as soon as the system gives a process."""
        pause_s = 0.0
        while True:
            worker = WorkerProcess(self._dispatch, is_background=is_background)
            try:
                await worker.start()
            except OSError as error:  # too many processes, or no memory
                LOGGER.error("a worker cannot be started: %s", error.strerror or error)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s + 0.1)
                await asyncio.sleep(pause_s)
            else:
                return worker

    async def _reopen(self, worker: WorkerProcess) -> None:
        for digest, path in list(self._in_service.items()):
            try:
                await worker.open(path, digest)
            except BundleError as error:
                LOGGER.error("a new worker cannot open %s: %s", path, error)

    async def _watch_deadlines(self) -> None:
        """Late jobs fail, and workers that hang are ended."""
        while not self._stopping:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for job in self._all_jobs():
                if now > job.deadline:
                    job.fail(DeadlineExceeded("the image was not answered before its deadline."))
            for worker in self._workers:
                since = worker.head_since()
                if since is not None and now - since > HANGS_AFTER_S:
                    LOGGER.warning("worker %d hangs; it is ended", worker.pid)
                    worker.kill()
            self._dispatch()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
