"""The process of one job: python -m holotype.executors.run_job SHEET NUMBER [--watch-stdin].

It runs the commands of the job, passes SIGTERM on to them, which lets a training write a
checkpoint, and writes how it ended. With `--watch-stdin` it ends with whoever started it, whose end
of the pipe then closes: no job outlives its coordinator or its node.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from holotype.executors.job_sheet import JobResult, JobSheet, read_command

TERMINATED = 143  # the exit code of a command that was told to stop and wrote a checkpoint


def run_job(sheet: Path, number: int) -> int:
    """Run the commands of one job; returns the exit code of the last that ran."""
    directory, row = read_command(sheet, number)
    results = JobSheet(sheet.parent)
    results.record(number, JobResult("running"))
    began = time.monotonic()
    log, environment = Path(row["log"]), {**os.environ, **row["environment"]}
    log.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    for command in row["commands"]:
        if _told_to_stop.is_set():
            code = TERMINATED
            break
        with log.open("ab") as output:
            code = _run_command(command, cwd=directory, env=environment, stdout=output)
        if code:
            break
    seconds = round(time.monotonic() - began, 2)
    if code == 0:
        results.record(number, JobResult("done", seconds))
    elif code != TERMINATED:
        results.record(number, JobResult("failed", seconds, _reason(log, code)))
    return code


def _run_command(words: Sequence[str], **options: Any) -> int:
    """Run one command as a process that SIGTERM is passed on to.

    Returns:
        The exit code; 128 and the signal's number where a signal ended it, as in a shell.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        **options,
    )  # fmt: skip
    _running[:] = [process]
    if _told_to_stop.is_set():  # between the start and this line
        process.terminate()
    code = process.wait()
    _running.clear()
    return code if code >= 0 else 128 - code


_running: list["subprocess.Popen[bytes]"] = []
_told_to_stop = threading.Event()


def _pass_on(number: int, frame: FrameType | None) -> None:
    _told_to_stop.set()
    for process in _running:
        process.terminate()


def _end_with_the_pipe() -> None:
    """Block until standard input closes, then end the command and this process."""
    while os.read(0, 1024):
        pass
    for process in list(_running):
        process.kill()
    os._exit(1)


def _reason(log: Path, code: int) -> str:
    """The last error in the log, or its last line."""
    lines = log.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    lines = [line.strip() for line in lines[-200:] if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    ended = f"ended by signal {code - 128}" if code > 128 else f"exit code {code}"
    return (errors or [f"{ended}: {lines[-1] if lines else 'nothing was said'}"])[-1]


def main(arguments: Sequence[str]) -> int:
    sheet, number, *options = arguments
    signal.signal(signal.SIGTERM, _pass_on)
    if "--watch-stdin" in options:
        threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    return run_job(Path(sheet), int(number))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
