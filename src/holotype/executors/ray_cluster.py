"""Jobs as tasks of a Ray cluster."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.errors import MissingExtra, UsageError
from holotype.executors.job_sheet import JobSheet, OnChange

POLL_S = 1.0
RETRIES = 20  # of a job whose node or process died; what a job itself gets wrong is not retried


@dataclass(frozen=True)
class RayExecutor:
    """So many tasks at once on a cluster; one whose node dies goes on elsewhere.

    Attributes:
        slots: tasks at once; each asks for as many cores as its job has threads.
        address: `ray://HOST:PORT`; None for the cluster of this machine, which is started where
            none runs.
    """

    slots: int
    address: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("--on ray needs Ray: pip install 'holotype[cluster]'")

    def run(self, sheet: JobSheet, on_change: OnChange) -> None:
        import ray

        began_here = self._connect(ray)
        try:
            self._run_tasks(ray, sheet, on_change)
        finally:
            if began_here:
                ray.shutdown()

    def _connect(self, ray: Any) -> bool:
        """Whether the connection was made here; else the caller's is used, and stays."""
        if ray.is_initialized():
            return False
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        try:
            if self.address is not None:
                ray.init(address=self.address, **options)
                return True
            try:
                ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **options)
            except ConnectionError:
                if "RAY_ADDRESS" in os.environ:
                    raise
                ray.init(address="local", include_dashboard=False, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = self.address or os.environ.get("RAY_ADDRESS", "this machine")
            first = str(error).strip().splitlines()[0].rstrip(".")
            raise UsageError(
                f"no Ray cluster answers at {where}: {first}. Start one with `ray start --head`, "
                "or take --on local."
            ) from None
        return True

    def _run_tasks(self, ray: Any, sheet: JobSheet, on_change: OnChange) -> None:
        task = ray.remote(max_retries=RETRIES, retry_exceptions=False)(run_as_task)
        waiting = list(enumerate(sheet.jobs))
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and len(running) < self.slots:
                number, job = waiting.pop(0)
                sized = task.options(num_cpus=job.threads)
                running[sized.remote(os.path.abspath(sheet.file), number)] = number
            ended, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S)
            for reference in ended:
                number = running.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    sheet.fail_unfinished(number, f"Ray: {str(error).strip().splitlines()[0]}")
            on_change(sheet.results())


def run_as_task(sheet: str, number: int) -> int:
    """What a worker of Ray runs; its process dies with the worker."""
    words = [sys.executable, "-m", "holotype.executors.run_job", str(Path(sheet)), str(number)]
    process = subprocess.Popen([*words, "--watch-stdin"], stdin=subprocess.PIPE)
    return process.wait()
