"""When a state is due within an epoch, and whether the process was told to stop."""

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
    """Asked after every step of training.

    Attributes:
        checkpoint_minutes: between two states, besides the one after every epoch.
        stop_requested: whether SIGTERM arrived while a state can still be written.
    """

    checkpoint_minutes: float = CHECKPOINT_MINUTES
    stop_requested: bool = False
    _is_deferred: bool = field(default=False, init=False)
    _last_checkpoint: float = field(default_factory=time.monotonic, init=False)

    @contextmanager
    def handling_sigterm(self) -> Iterator["StopSignal"]:
        """SIGTERM ends what runs within: at once, or within `deferred` after the step.

        Only the main thread may change what a signal does; elsewhere nothing is changed.
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
        """Within, SIGTERM is only noted; whoever asks `stop_requested` must end soon."""
        self._is_deferred, self._last_checkpoint = True, time.monotonic()
        try:
            yield
        finally:
            self._is_deferred = False

    def checkpoint_is_due(self) -> bool:
        """Whether so many minutes have passed; the clock starts anew when they have."""
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
