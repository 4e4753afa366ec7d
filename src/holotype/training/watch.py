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
class Watch:
    """Asked after every step of training.

    Attributes:
        minutes: between two states, besides the one after every epoch.
        told_to_stop: whether SIGTERM arrived while a state can still be written.
    """

    minutes: float = CHECKPOINT_MINUTES
    told_to_stop: bool = False
    _waiting: bool = field(default=False, init=False)
    _since: float = field(default_factory=time.monotonic, init=False)

    @contextmanager
    def listening(self) -> Iterator["Watch"]:
        """SIGTERM ends what runs within: at once, or within `patience` after the step.

        Only the main thread may change what a signal does; elsewhere nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGTERM, self._hear)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Within, SIGTERM is only noted; whoever asks `told_to_stop` must end soon."""
        self._waiting, self._since = True, time.monotonic()
        try:
            yield
        finally:
            self._waiting = False

    def state_is_due(self) -> bool:
        """Whether so many minutes have passed; the clock starts anew when they have."""
        now = time.monotonic()
        if now - self._since < 60 * self.minutes:
            return False
        self._since = now
        return True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._waiting:
            raise Terminated(
                "told to stop (SIGTERM); what was computed is kept. The same command with "
                "--output RUN --resume goes on."
            )
        self.told_to_stop = True
        with suppress(ValueError):  # a second one does not wait
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
