"""Jobs on this machine: each ends as its commands do, and none outlives who started it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from holotype.errors import UsageError
from holotype.executors import run_job
from holotype.executors.executor import executor, run_jobs
from holotype.executors.job_sheet import Job, JobSheet

SLEEP = """
import pathlib, signal, sys
from holotype.executors import local
from holotype.executors.job_sheet import Job, JobSheet
from holotype.executors.executor import executor, run_jobs
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs of a shell
directory = pathlib.Path(sys.argv[1])
job = Job("asleep", (("http.server", "0"),), directory / "log")
run_jobs([job], directory / "jobs", executor("local", slots=1))
"""


WAITS_FOR_SIGTERM = """
import signal, sys, time
def stop(number, frame):
    time.sleep(0.5)
    print("checkpoint", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX processes")
def test_ctrl_c_waits_for_the_checkpoints_of_the_jobs_and_only_the_coordinator_speaks(
    tmp_path: Path,
) -> None:
    (tmp_path / "waits.py").write_text(WAITS_FOR_SIGTERM)
    coordinator = subprocess.Popen(
        [sys.executable, "-c", SLEEP.replace('"http.server", "0"', '"waits",'), str(tmp_path)],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / "log"
    for _ in range(300):
        if log.is_file() and "ready" in log.read_text():
            break
        time.sleep(0.1)
    os.killpg(coordinator.pid, signal.SIGINT)
    _, said = coordinator.communicate(timeout=30)
    assert log.read_text() == "ready\ncheckpoint\n"
    assert said.count("Traceback") == 1  # of the script above, which catches nothing


def test_each_job_ends_as_its_commands_do_and_one_failure_stops_nothing(tmp_path: Path) -> None:
    good = Job("good", (("holotype", "--version"), ("holotype", "--version")), tmp_path / "a.log")
    bad = Job(
        "bad", (("holotype", "train", "nowhere"), ("holotype", "--version")), tmp_path / "b.log"
    )
    seen = []
    done, failed, again = run_jobs(
        [good, bad, good], tmp_path / "jobs", executor("local", slots=2),
        lambda results: seen.append([one.state for one in results]),
    )  # fmt: skip
    assert (done.state, failed.state, again.state) == ("done", "failed", "done")
    assert "'nowhere'" in failed.reason
    assert "\n" not in failed.reason
    assert len((tmp_path / "a.log").read_text().splitlines()) == 4
    assert seen[-1] == ["done", "failed", "done"]


def test_the_threads_of_a_job_are_what_the_libraries_read(tmp_path: Path) -> None:
    job = Job("one", (("holotype", "--version"),), tmp_path / "log", threads=3)
    assert job.environment["OMP_NUM_THREADS"] == "3"
    sheet = JobSheet(tmp_path / "jobs", [job])
    sheet.write()
    assert '"HOLOTYPE_THREADS": "3"' in sheet.file.read_text()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX processes")
def test_a_job_ends_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    coordinator = subprocess.Popen([sys.executable, "-c", SLEEP, str(tmp_path)])
    sheet = JobSheet(tmp_path / "jobs")
    for _ in range(300):
        if sheet.result(0).state == "running" and _processes(tmp_path):
            break
        time.sleep(0.1)
    assert _processes(tmp_path)
    coordinator.send_signal(signal.SIGKILL)
    coordinator.wait()
    for _ in range(100):
        if not _processes(tmp_path):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {_processes(tmp_path)}")


def _processes(directory: Path) -> list[str]:
    """The processes of the job: that of `run_job`, and its child, whose output is the log."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\0")
            output = os.readlink(entry / "fd" / "1")
        except OSError:
            continue
        if output == str(directory / "log") or (
            "holotype.executors.run_job" in words and str(directory) in " ".join(words)
        ):
            found.append(entry.name)
    return found


def test_an_executor_that_is_none_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="did you mean 'slurm'"):
        executor("slrum", slots=1)


def test_told_to_stop_before_its_first_command_a_job_runs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_job, "_told_to_stop", threading.Event())
    sheet = JobSheet(
        tmp_path / "jobs", [Job("late", (("holotype", "--version"),), tmp_path / "log")]
    )
    sheet.write()
    run_job._pass_on(signal.SIGTERM, None)
    assert run_job.run_job(sheet.file, 0) == run_job.TERMINATED
    assert not (tmp_path / "log").exists()
