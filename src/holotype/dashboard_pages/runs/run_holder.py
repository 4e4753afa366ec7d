"""Which process trains a run: the one that holds its lock; and how it is told to stop.

Linux lists all locks in `/proc/locks`, so that nothing has to be locked to find out. Elsewhere, and
where the process is of another container or machine, nobody is known and nothing can be stopped.
"""

import os
import signal
import sys
from pathlib import Path

from holotype.errors import RunError
from holotype.run_directory import LOCK

LOCKS = Path("/proc/locks")
HeldLocks = dict[tuple[int, int, int], int]  # (major, minor, inode) of a file -> process


def held_locks() -> HeldLocks:
    """Every file with a lock, and the process that holds it."""
    held: HeldLocks = {}
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return held
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4937 fe:00:2163889 0 EOF; a waiting one has `->` before its kind
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or not words[4].isdigit():
            continue
        major, minor, inode = words[5].split(":")
        held[int(major, 16), int(minor, 16), int(inode)] = int(words[4])
    return held


def holder_of(run: Path, held: HeldLocks | None = None) -> int | None:
    """The process of this machine that holds a run; None where there is none, or it is not known.

    Args:
        held: of `held_locks`, where many runs are asked for.
    """
    try:
        found = (run / LOCK).stat()
    except OSError:
        return None
    device = found.st_dev
    key = os.major(device), os.minor(device), found.st_ino
    return (held_locks() if held is None else held).get(key)


def stop_holder(run: Path) -> int:
    """Send SIGTERM to the process that holds a run: it ends after its step, with a checkpoint.

    Returns:
        The process.

    Raises:
        RunError: none is known, or it is of another user.
    """
    process = holder_of(run)
    if process is None or sys.platform != "linux":
        raise RunError(
            f"no process of this machine is known to train {run.name!r}: it has ended, or it runs "
            "elsewhere."
        )
    try:
        # The descriptor stays that process, even where its number is given to another.
        descriptor = os.pidfd_open(process)
    except OSError as error:
        raise RunError(f"process {process} has ended: {error.strerror}.") from None
    try:
        if holder_of(run) != process:
            raise RunError(f"process {process} has let go of {run.name!r} meanwhile.")
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except PermissionError:
        raise RunError(
            f"process {process} trains {run.name!r} as another user; only that user can stop it."
        ) from None
    finally:
        os.close(descriptor)
    return process
