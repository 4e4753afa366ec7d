"""Jobs as an array of SLURM, by a script that is written to disk to be read.

The array is submitted once and waited for. A coordinator that was killed finds its number in
`slurm.txt` and waits for what is still in the queue before it submits what is missing.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from holotype.errors import HolotypeError, MissingExtra
from holotype.executors.job_sheet import JobSheet, OnChange
from holotype.files import write_text

POLL_S = 2.0
GRACE_S = 30.0  # until a job that left the queue must have said how it ended
WARNING_S = 120  # before the time limit, for a checkpoint
OPTIONS = "HOLOTYPE_SBATCH"  # more options of sbatch, such as "--partition=gpu --time=4:00:00"

SCRIPT = """#!/bin/bash
#SBATCH --job-name=holotype
#SBATCH --array=0-{last}%{slots}
#SBATCH --cpus-per-task={threads}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@{warning}
# Each element of the array is one job of sheet.json.
# {warning} seconds before the time limit SLURM sends SIGTERM: the job writes a checkpoint, and the
# element is queued again, to go on from there.
stop() {{
    kill -TERM "$job"
    wait "$job"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}}
trap stop TERM
{python} -m holotype.executors.run_job {sheet} "$SLURM_ARRAY_TASK_ID" &
job=$!
wait "$job"
"""


@dataclass(frozen=True)
class SlurmExecutor:
    """One array of jobs, so many at once.

    Attributes:
        slots: jobs at once.
    """

    slots: int

    def __post_init__(self) -> None:
        if shutil.which("sbatch") is None:
            raise MissingExtra("--on slurm needs SLURM's commands, and there is no sbatch here.")

    def run(self, sheet: JobSheet, on_change: OnChange) -> None:
        script = sheet.directory / "array.sbatch"
        write_text(script, self.script(sheet))
        # Here and not in the script, where no name of a directory can be quoted.
        log = f"{str(sheet.directory.absolute()).replace('%', '%%')}/slurm-%a.log"
        words = ("sbatch", "--parsable", f"--output={log}", *_options(), str(script))
        array = _slurm(*words).strip().split(";")[0]
        write_text(_number_file(sheet.directory), array)
        gone_since: float | None = None
        while True:
            time.sleep(POLL_S)
            results = sheet.results()
            on_change(results)
            if all(one.state in ("done", "failed") for one in results):
                return
            if in_queue(array):
                gone_since = None
            elif gone_since is None:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > GRACE_S:
                return  # what said nothing counts as failed

    def script(self, sheet: JobSheet) -> str:
        """The text of the array script."""
        return SCRIPT.format(
            last=len(sheet.jobs) - 1, slots=self.slots, warning=WARNING_S,
            threads=max(job.threads for job in sheet.jobs), python=shlex.quote(sys.executable),
            sheet=shlex.quote(str(sheet.file.absolute())),
        )  # fmt: skip


def wait_for_previous(directory: Path) -> None:
    """Wait for the array of a coordinator that was killed, if it is still in the queue."""
    file = _number_file(directory)
    if not file.is_file() or shutil.which("squeue") is None:
        return
    array = file.read_text(encoding="utf-8").strip()
    while in_queue(array):
        time.sleep(POLL_S)


def in_queue(array: str) -> bool:
    """Whether any element of an array waits or runs."""
    try:
        return bool(_slurm("squeue", "--noheader", "--jobs", array).strip())
    except HolotypeError as error:
        if "Invalid job id" in str(error):
            return False
        raise


def _number_file(directory: Path) -> Path:
    return directory / "slurm.txt"


def _options() -> list[str]:
    return shlex.split(os.environ.get(OPTIONS, ""))


def _slurm(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HolotypeError(f"{words[0]} failed: {' '.join(done.stderr.split()) or 'no reason'}.")
    return done.stdout
