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

from holotype.imaging.decoding_memory import DECODING_MEMORY, new_lock_file

if sys.platform == "linux":
    import fcntl

BATCHES_AHEAD = 4  # made side by side, since the images of one batch are not even over P
_HEADER = struct.Struct("<?Q")  # whether it is an error, and bytes
_PIPE_BYTES = 2**20  # one image of 224 pixels in one system call instead of ten
_START = "from holotype.training.data.decoding_processes import serve; serve()"


class ViewMaker(Protocol):
    """Makes one view of an image; can be pickled.

    Attributes:
        shape: of a view, (3, H, W).
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    def view_tensor(self, image: int, number: int) -> NDArray[np.float32]: ...


class DecodingProcesses:
    """So many processes with a maker each.

    Args:
        maker: handed to each of them.
    """

    def __init__(self, maker: ViewMaker, count: int) -> None:
        handed = pickle.dumps(maker)
        self._shape = maker.shape
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

        count, shape = len(self._processes), (len(images), *self._shape)
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
        """Have a process make images, each into its row."""
        process = self._processes[number]
        with self._locks[number]:
            _send(process, pickle.dumps(wanted))
            assert process.stdout is not None
            failed, size = _HEADER.unpack(_read(process.stdout, _HEADER.size))
            if failed:
                raise pickle.loads(_read(process.stdout, size))
            for row in rows:
                _read_into(process.stdout, made[row])


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
        try:
            values = np.stack([maker.view_tensor(*one) for one in pickle.loads(wanted)])
            content = np.ascontiguousarray(values, np.float32).tobytes()
            header = _HEADER.pack(False, len(content))
        except Exception as error:
            content = pickle.dumps(error)
            header = _HEADER.pack(True, len(content))
        answers.write(header)
        answers.write(content)
        answers.flush()


def _widen(process: "subprocess.Popen[bytes]") -> None:
    """Let the system hold a whole image between the processes, where it allows that."""
    if sys.platform == "linux" and process.stdout is not None:
        with suppress(OSError):  # the user has too many such pipes
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _send(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    assert process.stdin is not None
    waiting = memoryview(struct.pack("<Q", len(content)) + content)
    while waiting:
        waiting = waiting[process.stdin.write(waiting) :]


def _read_message(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end."""
    header = stream.read(8)
    return _read(stream, struct.unpack("<Q", header)[0]) if len(header) == 8 else b""


def _read(stream: IO[bytes], size: int) -> bytes:
    content = np.empty(size, np.uint8)
    _read_into(stream, content)
    return content.tobytes()


def _read_into(stream: IO[bytes], array: "NDArray[np.float32] | NDArray[np.uint8]") -> None:
    missing = array.data.cast("B")
    while missing:
        if not (done := stream.readinto(missing)):  # type: ignore[attr-defined]
            raise RuntimeError("a process that decodes images has ended; it printed why")
        missing = missing[done:]


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
