"""`torchrun` and `accelerate launch`: one run, owned by the first process; killed and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holotype.training.finetuning.checkpoint import read_state

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


def _pid(rank: int, run: Path) -> int:
    """The process of a rank whose command names the run."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(run).encode() in command and f"RANK={rank}".encode() in environment:
                return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


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
    os.kill(_pid(1, tmp_path / "killed"), signal.SIGKILL)
    _, err = killed.communicate(timeout=100)
    assert killed.returncode != 0
    assert not (tmp_path / "killed" / "bundle").exists()
    again = _start([*TORCHRUN, *_train(synthetic, tmp_path / "killed", "--resume")])
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    manifests = [(tmp_path / run / "bundle" / "manifest.json") for run in ("whole", "killed")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("told", [(0, 1), (0,), (1,)])
def test_told_to_stop_all_processes_end_after_one_step_with_a_checkpoint(
    synthetic: Path, tmp_path: Path, told: tuple[int, ...]
) -> None:
    run = tmp_path / "run"
    started = _start([*TORCHRUN, *_train(synthetic, run, "--set", "stages.0.epochs=400")])
    deadline = time.monotonic() + 200
    while not ((run / "train.log").is_file() and "epoch 2/" in (run / "train.log").read_text()):
        assert time.monotonic() < deadline
        assert started.poll() is None
        time.sleep(0.02)
    pids = [_pid(rank, run) for rank in (0, 1)]
    for rank in told:
        os.kill(pids[rank], signal.SIGTERM)
    _, err = started.communicate(timeout=60)
    assert "the state is written" in err
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    state = read_state(run / "checkpoints", "scratch")
    assert state is not None
    assert state.epoch >= 2


FAILS_ONCE = """
import pathlib, sys
from holotype.cli.app import main
from holotype.training.finetuning import finetune
write = finetune.write_state
def full(state, *rest):
    if state.epoch == 1:
        raise OSError(28, "No space left on device", "state")
    write(state, *rest)
finetune.write_state = full
sys.argv[0] = "holotype"
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_where_the_first_process_fails_alone_the_other_does_not_wait(
    synthetic: Path, tmp_path: Path
) -> None:
    (tmp_path / "fails.py").write_text(FAILS_ONCE)
    _, _, *words = _train(synthetic, tmp_path / "run")
    started = _start([*TORCHRUN, str(tmp_path / "fails.py"), *words])
    _, err = started.communicate(timeout=200)
    assert started.returncode != 0
    assert "No space left on device" in err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_accelerate_launches_it_too(synthetic: Path, tmp_path: Path) -> None:
    done = _start([*ACCELERATE, *_train(synthetic, tmp_path / "run")])
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    assert out.count("accuracy") == 1
    assert "2 processes" in (tmp_path / "run" / "train.log").read_text()
    assert (tmp_path / "run" / "report" / "index.html").is_file()
