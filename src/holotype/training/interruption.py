"""SIGTERM, and the interval of checkpoints within an epoch.

The handler only sets a flag: an exception raised in the middle of a library may be swallowed there,
and the exporter of torch then writes another graph. Work looks at the flag where it can stop.
"""

import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from holotype.errors import Terminated

CHECKPOINT_MINUTES = 10.0
GOES_ON = "The same command with "


@contextmanager
def naming_resume(output: Path) -> Iterator[None]:
    """What interrupts the work on this run says how to go on with it."""
    advice = f"The same command with --output {shlex.quote(str(output))} --resume goes on."
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; what was computed is kept. {advice}") from None
    except Terminated as stopped:
        raise Terminated(f"{str(stopped).split(GOES_ON)[0]}{advice}") from None


@dataclass(eq=False)
class StopSignal:
    """Whether to stop, and when to write a checkpoint; polled after every step of training.

    Attributes:
        checkpoint_minutes: between checkpoints, besides the one after every epoch.
        stop_requested: whether SIGTERM arrived.
    """

    checkpoint_minutes: float = CHECKPOINT_MINUTES
    stop_requested: bool = False
    _last_checkpoint: float = field(default_factory=time.monotonic, init=False)

    @contextmanager
    def handling_sigterm(self) -> Iterator["StopSignal"]:
        """Make SIGTERM set `stop_requested`; a second one ends the process at once.

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

    def raise_if_requested(self) -> None:
        """
        Raises:
            Terminated: SIGTERM arrived.
        """
        if self.stop_requested:
            raise Terminated(
                f"told to stop (SIGTERM); what was computed is kept. {GOES_ON}--output RUN "
                "--resume goes on."
            )

    def restart_interval(self) -> None:
        """Count `checkpoint_minutes` from now."""
        self._last_checkpoint = time.monotonic()

    def checkpoint_is_due(self) -> bool:
        """Whether `checkpoint_minutes` have passed; if so, the next interval starts."""
        if time.monotonic() - self._last_checkpoint < 60 * self.checkpoint_minutes:
            return False
        self.restart_interval()
        return True

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.stop_requested = True
        with suppress(ValueError):  # a second one does not wait
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
