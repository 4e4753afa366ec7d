"""A server in a process of its own, as `holotype serve` starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-c", "from holotype.cli.app import main; main()", "serve"]


@dataclass(eq=False)
class Running:
    """A server that listens; `lines` is what it said on standard error."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    url: str = ""
    started_s: float = 0.0

    @property
    def port(self) -> int:
        return int(re.findall(r":(\d+)", self.url)[0])

    @property
    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "holotype.serving.engine.worker" in child.cmdline()]

    def memory(self) -> int:
        """Bytes of the server and its workers that are theirs alone."""
        processes = [psutil.Process(self.process.pid), *self.workers]
        return sum(process.memory_full_info().uss for process in processes)

    def cpu_s(self) -> float:
        """Processor seconds of the server and its workers."""
        times = [psutil.Process(self.process.pid).cpu_times()]
        times += [worker.cpu_times() for worker in self.workers]
        return float(sum(each.user + each.system for each in times))

    def terminate(self, timeout_s: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


# The same, with limits that no option sets.
LIMITED = """
import sys
from holotype.serving.model_sources import served_sources
from holotype.serving.running_server import run_server
from holotype.serving.traffic.traffic_options import TrafficOptions
from holotype.serving.server_settings import RequestLimits, ServerSettings
settings = ServerSettings(port=0, limits=RequestLimits({limits}))
tell = lambda url: print(f"serving at {{url}};", file=sys.stderr, flush=True)
run_server(served_sources(sys.argv[1:], TrafficOptions()), settings, tell)
"""


@contextmanager
def running(
    *words: object, limits: str = "", before: str = "", folder: Path | None = None
) -> Iterator[Running]:
    """A server on a free port of loopback, ended afterwards; `before` is run in it first.

    Args:
        folder: the working directory; that of the tests by default.
    """
    started = time.perf_counter()
    command = [*COMMAND, *map(str, words), "--port", "0"]
    if limits:
        command = [sys.executable, "-c", before + LIMITED.format(limits=limits), *map(str, words)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    server = Running(process)
    assert process.stderr is not None
    for line in process.stderr:
        server.lines.append(line)
        if found := re.search(r"serving at (http\S+?);", line):
            server.url = found[1]
            break
    server.started_s = time.perf_counter() - started
    assert server.url, "".join(server.lines)
    reader = threading.Thread(target=lambda: server.lines.extend(process.stderr or ()))
    reader.start()
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
