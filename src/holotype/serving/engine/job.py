"""Work for the engine, and the ways in which it fails."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from holotype.errors import HolotypeError
from holotype.serving.engine.frames import Header

Task = Literal["predict", "embed", "explain", "identify", "neighbours", "thumbnail", "frame"]


class EngineError(HolotypeError):
    """A job that was not answered."""


class QueueFull(EngineError):
    """The queue holds as many images or bytes as it may; `retry_after_s` is when to come again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("the server is busy; try again later.")


class DeadlineExceeded(EngineError):
    """The job was not begun before its deadline."""


class WorkerDied(EngineError):
    """The process that worked on the job ended."""


class ImageRefused(EngineError):
    """The image cannot be used; `problem` says why, such as ``truncated_image``.

    Attributes:
        detail: a limit and what arrived, where there is one; nothing else of the image.
    """

    def __init__(self, problem: str, detail: str = "") -> None:
        self.problem = problem
        self.detail = detail
        super().__init__(problem)


class JobRefused(EngineError):
    """The classifier cannot do this, such as sets where nothing was held back to calibrate them."""


@dataclass(frozen=True, eq=False)
class JobAnswer:
    """What a worker answered.

    Attributes:
        facts: numbers and names, by task.
        parts: arrays and files, by task: of `predict` the probabilities (C) float64, the embedding
            (D) float32 and, where asked for, a PNG; of `thumbnail` a JPEG or, where single
            pixels were enlarged, a PNG; of `frame` the grey levels (side, side) uint8.
        queue_ms: from its arrival until it was handed to a worker.
        run_ms: decoding and inference.
    """

    facts: Header
    parts: list[memoryview]
    queue_ms: float
    run_ms: float


@dataclass(eq=False)
class Job:
    """One image and what to do with it.

    Attributes:
        digest: of the bundle that answers; "" for a thumbnail and a frame, which need none.
        content: the bytes of the image's file.
        options: of the task: `coverage`, `explain`, `class`, `method`, `count`; `longest`, the
            pixels of the longer side of a map or a thumbnail; `caption`, for a line below a map on
            which no place stands out; `shortest`, below which a thumbnail is enlarged; `side` of a
            frame; `local` for a file of this machine, which may be of any format that is read.
        deadline: by `time.monotonic`; a job that was not begun by then is dropped.
        background: runs only where nothing else waits, and is dropped first.
        answer: set once; cancelled by a caller who has left.
    """

    task: Task
    digest: str
    content: bytes
    options: Mapping[str, Any]
    deadline: float
    background: bool = False
    arrived: float = field(default_factory=time.monotonic)
    answer: "asyncio.Future[JobAnswer]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def header(self) -> Header:
        return {
            "task": self.task,
            "digest": self.digest,
            "deadline": self.deadline,
            **self.options,
        }

    @property
    def is_slow(self) -> bool:
        """Whether it takes many times as long as a prediction."""
        return self.task == "explain" or bool(self.options.get("explain"))

    def fail(self, error: EngineError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
