"""Processes that decode and augment images, for a GPU, which threads of one process cannot feed.

Image i is always made by process i mod P, so that each keeps the framed images that it will be
asked for again. A process is started with an interpreter of its own, which neither repeats the
caller's script nor shares its locks; it ends when its input is closed.

Shape suffixes: B images of a batch, P processes.
"""

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.imaging.decoding_memory import DECODING_MEMORY, new_lock_file
from holotype.imaging.preprocessing import Preprocessing

if sys.platform == "linux":
    import fcntl

BATCHES_AHEAD = 4  # made side by side, since the images of one batch are not even over P
_SIZE = struct.Struct("<Q")  # of a message, in bytes
_PIPE_BYTES = 2**20  # six images of 224 pixels in one system call instead of one in three
_START = "from holotype.training.data.decoding_processes import serve; serve()"


class ViewMaker(Protocol):
    """Makes one view of an image, framed by its preprocessing; can be pickled."""

    @property
    def preprocessing(self) -> Preprocessing: ...
    def framed_view(self, image: int, number: int) -> PillowImage.Image: ...


class DecodingProcesses:
    """So many processes with a maker each.

    Args:
        maker: handed to each of them.
    """

    def __init__(self, maker: ViewMaker, count: int) -> None:
        handed = pickle.dumps(maker)
        self._preprocessing = maker.preprocessing
        lock_file = new_lock_file()
        shared = () if lock_file is None else (lock_file,)
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", _START, str(count), *map(str, shared)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=shared, bufsize=0,
            )
            for _ in range(count)
        ]  # fmt: skip
        for descriptor in shared:
            os.close(descriptor)
        for process in self._processes:
            _widen(process)
            _send(process, handed)
        self._locks = [threading.Lock() for _ in range(count)]
        self._threads = ThreadPoolExecutor(count * BATCHES_AHEAD)
        self._finalize = weakref.finalize(self, _end, self._processes)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[np.float32]:
        """The model inputs (B, 3, H, W); may be called from several threads.

        They lie in pinned memory where there is CUDA, from which a GPU copies while it computes.

        Raises:
            ImageError: an image became unreadable.
        """
        import torch

        count, shape = len(self._processes), (len(images), *self._preprocessing.shape)
        made = torch.empty(shape, pin_memory=torch.cuda.is_available()).numpy()
        rows = [[b for b, image in enumerate(images) if image % count == p] for p in range(count)]
        asked = [
            self._threads.submit(self._ask, p, [(images[b], views[b]) for b in own], made, own)
            for p, own in enumerate(rows)
            if own
        ]
        for answer in asked:
            answer.result()
        return made

    def close(self) -> None:
        """End the processes."""
        self._finalize()

    def _ask(
        self,
        number: int,
        wanted: list[tuple[int, int]],
        made: NDArray[np.float32],
        rows: list[int],
    ) -> None:
        """Have a process make images, and write the model input of each into its row."""
        process = self._processes[number]
        with self._locks[number]:
            _send(process, pickle.dumps(wanted))
            assert process.stdout is not None
            (size,) = _SIZE.unpack(_read(process.stdout, _SIZE.size))
            answer = pickle.loads(_read(process.stdout, size))
        if isinstance(answer, Exception):
            raise answer
        for row, levels in zip(rows, answer, strict=True):
            self._preprocessing.normalise(levels, out=made[row])


def serve() -> None:
    """What a process does: answer requests until its input ends."""
    for name in (signal.SIGINT, signal.SIGTERM):  # also sent to a whole group: it must go on
        signal.signal(name, signal.SIG_IGN)  # until the training has written its checkpoint
    processes, *lock_file = map(int, sys.argv[1:])
    if lock_file:
        DECODING_MEMORY.share(lock_file[0], processes)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that a library prints is taken for an answer
    maker: ViewMaker = pickle.loads(_read_message(requests))
    while wanted := _read_message(requests):
        answer: list[NDArray[np.uint8]] | Exception
        try:  # 8 bits, a quarter of what the model reads: the caller normalises them
            answer = [np.asarray(maker.framed_view(*one)) for one in pickle.loads(wanted)]
        except Exception as error:
            answer = error
        content = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        answers.write(_SIZE.pack(len(content)))
        answers.write(content)
        answers.flush()


def _widen(process: "subprocess.Popen[bytes]") -> None:
    """Let the system hold a whole image between the processes, where it allows that."""
    if sys.platform == "linux" and process.stdout is not None:
        with suppress(OSError):  # the user has too many such pipes
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _send(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    assert process.stdin is not None
    waiting = memoryview(_SIZE.pack(len(content)) + content)
    while waiting:
        waiting = waiting[process.stdin.write(waiting) :]


def _read_message(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end."""
    size = stream.read(_SIZE.size)
    return stream.read(_SIZE.unpack(size)[0]) if len(size) == _SIZE.size else b""


def _read(stream: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    missing = memoryview(content)
    while missing:
        if not (done := stream.readinto(missing)):  # type: ignore[attr-defined]
            raise RuntimeError("a process that decodes images has ended; it printed why")
        missing = missing[done:]
    return content


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    for process in processes:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
