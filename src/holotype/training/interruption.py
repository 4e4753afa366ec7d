"""SIGTERM, and the interval of checkpoints within an epoch."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from holotype.errors import Terminated

CHECKPOINT_MINUTES = 10.0


@dataclass(eq=False)
class StopSignal:
    """Whether to stop, and when to write a checkpoint; polled after every step of training.

    Attributes:
        checkpoint_minutes: between checkpoints, besides the one after every epoch.
        stop_requested: whether SIGTERM arrived while `deferred` was open.
    """

    checkpoint_minutes: float = CHECKPOINT_MINUTES
    stop_requested: bool = False
    _is_deferred: bool = field(default=False, init=False)
    _last_checkpoint: float = field(default_factory=time.monotonic, init=False)

    @contextmanager
    def handling_sigterm(self) -> Iterator["StopSignal"]:
        """Make SIGTERM raise Terminated: at once, or within `deferred` set `stop_requested`.

        Python allows signal handlers in the main thread only; elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within, SIGTERM only sets `stop_requested`, which the caller must poll."""
        self._is_deferred, self._last_checkpoint = True, time.monotonic()
        try:
            yield
        finally:
            self._is_deferred = False

    def checkpoint_is_due(self) -> bool:
        """Whether `checkpoint_minutes` have passed; if so, the next interval starts."""
        now = time.monotonic()
        if now - self._last_checkpoint < 60 * self.checkpoint_minutes:
            return False
        self._last_checkpoint = now
        return True

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if not self._is_deferred:
            raise Terminated(
                "told to stop (SIGTERM); what was computed is kept. The same command with "
                "--output RUN --resume goes on."
            )
        self.stop_requested = True
        with suppress(ValueError):  # a second one does not wait
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
