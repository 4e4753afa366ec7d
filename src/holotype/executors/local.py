"""Jobs as processes on this machine."""

import subprocess
import sys
import time
from dataclasses import dataclass

from holotype.executors.job_sheet import JobSheet, OnChange

POLL_S = 0.2


@dataclass(frozen=True)
class LocalExecutor:
    """So many jobs at once, each in a process that ends with this one.

    Attributes:
        slots: jobs at once.
    """

    slots: int

    def run(self, sheet: JobSheet, on_change: OnChange) -> None:
        waiting = list(range(len(sheet.jobs)))
        running: dict[int, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.slots:
                    number = waiting.pop(0)
                    running[number] = start_process(sheet, number)
                time.sleep(POLL_S)
                running = {n: process for n, process in running.items() if process.poll() is None}
                on_change(sheet.results())
        finally:
            for process in running.values():  # an interruption: let each write its checkpoint
                process.terminate()
            for process in running.values():
                process.wait()


def start_process(sheet: JobSheet, number: int) -> "subprocess.Popen[bytes]":
    """The process of a job, which ends when this one does.

    In a session of its own: Ctrl-C and `timeout` signal all processes of the terminal, and a job
    that was signalled twice could not write its checkpoint.
    """
    words = [sys.executable, "-m", "holotype.executors.run_job", str(sheet.file), str(number)]
    return subprocess.Popen(
        [*words, "--watch-stdin"], stdin=subprocess.PIPE, start_new_session=True
    )
