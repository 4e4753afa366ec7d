"""Processes that decode and augment images, for a GPU, which threads of one process cannot feed.

Image i is always made by process i mod P, so that each keeps the framed images that it will be
asked for again. A process is started with an interpreter of its own, which neither repeats the
caller's script nor shares its locks; it ends when its input is closed.

Shape suffixes: B images of a batch, P processes.
"""

import os
import pickle
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from holotype.imaging.decoding_memory import DECODING_MEMORY, new_lock_file

BATCHES_AHEAD = 4  # made side by side, since the images of one batch are not even over P
_HEADER = struct.Struct("<?QIII")  # whether it is an error, bytes, and the shape of an image
_START = "from holotype.training.data.decoding_processes import serve; serve()"


class ViewMaker(Protocol):
    """Makes one view of an image; can be pickled."""

    def view_tensor(self, image: int, number: int) -> NDArray[np.float32]: ...


class DecodingProcesses:
    """So many processes with a maker each.

    Args:
        maker: handed to each of them.
    """

    def __init__(self, maker: ViewMaker, count: int) -> None:
        handed = pickle.dumps(maker)
        lock_file = new_lock_file()
        shared = () if lock_file is None else (lock_file,)
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", _START, str(count), *map(str, shared)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=shared,
            )
            for _ in range(count)
        ]  # fmt: skip
        for descriptor in shared:
            os.close(descriptor)
        for process in self._processes:
            _send(process, handed)
        self._locks = [threading.Lock() for _ in range(count)]
        self._threads = ThreadPoolExecutor(count * BATCHES_AHEAD)
        self._finalize = weakref.finalize(self, _end, self._processes)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[np.float32]:
        """The model inputs (B, 3, H, W); may be called from several threads.

        Raises:
            ImageError: an image became unreadable.
        """
        count = len(self._processes)
        rows = [[b for b, image in enumerate(images) if image % count == p] for p in range(count)]
        found = [
            (own, self._threads.submit(self._ask, p, [(images[b], views[b]) for b in own]))
            for p, own in enumerate(rows)
            if own
        ]
        made: NDArray[np.float32] | None = None
        for own, future in found:
            values = future.result()
            if made is None:
                made = np.empty((len(images), *values.shape[1:]), np.float32)
            made[own] = values
        assert made is not None
        return made

    def close(self) -> None:
        """End the processes."""
        self._finalize()

    def _ask(self, number: int, wanted: list[tuple[int, int]]) -> NDArray[np.float32]:
        process = self._processes[number]
        with self._locks[number]:
            _send(process, pickle.dumps(wanted))
            assert process.stdout is not None
            failed, size, *shape = _HEADER.unpack(_read(process.stdout, _HEADER.size))
            content = _read(process.stdout, size)
        if failed:
            raise pickle.loads(content)
        return np.frombuffer(content, np.float32).reshape(len(wanted), *shape)


def serve() -> None:
    """What a process does: answer requests until its input ends."""
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
            header = _HEADER.pack(False, len(content), *values.shape[1:])
        except Exception as error:
            content = pickle.dumps(error)
            header = _HEADER.pack(True, len(content), 0, 0, 0)
        answers.write(header)
        answers.write(content)
        answers.flush()


def _send(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(struct.pack("<Q", len(content)))
    process.stdin.write(content)
    process.stdin.flush()


def _read_message(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end."""
    header = stream.read(8)
    return _read(stream, struct.unpack("<Q", header)[0]) if len(header) == 8 else b""


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise RuntimeError("a process that decodes images has ended; it printed why")
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
