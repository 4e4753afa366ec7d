"""`torchrun` and `accelerate launch`: one run, owned by the first process; killed and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# accelerate starts several processes by --multi_gpu alone; holotype trains on the CPU in them.
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--main_process_port", "0",
]  # fmt: skip


def _train(data: Path, run: Path, *more: str) -> list[str]:
    return [
        "-m", "holotype", "train", str(data), "--model", "cnn_v1", "--recipe", "scratch",
        "--weights", "none", "--image-size", "32", "--epochs", "3", "--batch-size", "16",
        "--device", "cpu", "--deterministic",
        "--set", "stages.0.patience=null", "--output", str(run), *more,
    ]  # fmt: skip


def _start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _pid_of_second(run: Path) -> int:
    """The process of rank 1 whose command names the run."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(run).encode() in command and b"RANK=1" in environment:
                return int(folder.name)
    raise AssertionError("no second process")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_of_two_processes_one_of_which_is_killed_resumes_to_the_same_bundle(
    synthetic: Path, tmp_path: Path
) -> None:
    whole = _start([*TORCHRUN, *_train(synthetic, tmp_path / "whole")])
    out, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err
    assert out.count("accuracy") == 1  # the first process speaks for all
    killed = _start([*TORCHRUN, *_train(synthetic, tmp_path / "killed")])
    log = tmp_path / "killed" / "train.log"
    deadline = time.monotonic() + 200
    while not (log.is_file() and "epoch 1/3" in log.read_text()):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    os.kill(_pid_of_second(tmp_path / "killed"), signal.SIGKILL)
    _, err = killed.communicate(timeout=100)
    assert killed.returncode != 0
    assert not (tmp_path / "killed" / "bundle").exists()
    again = _start([*TORCHRUN, *_train(synthetic, tmp_path / "killed", "--resume")])
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    manifests = [(tmp_path / run / "bundle" / "manifest.json") for run in ("whole", "killed")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_accelerate_launches_it_too(synthetic: Path, tmp_path: Path) -> None:
    done = _start([*ACCELERATE, *_train(synthetic, tmp_path / "run")])
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    assert out.count("accuracy") == 1
    assert "2 processes" in (tmp_path / "run" / "train.log").read_text()
    assert (tmp_path / "run" / "report" / "index.html").is_file()
