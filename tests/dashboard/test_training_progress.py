"""How far a training is, who holds it, and that stopping reaches that process and no other."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holotype.dashboard_pages.runs.run_holder import holder_of, stop_holder
from holotype.dashboard_pages.runs.training_progress import read_epochs, training_progress
from holotype.errors import RunError
from holotype.run_directory import RunDirectory
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.history import write_history

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")

RECIPE = """name: finetune
model: x
stages:
- {kind: linear, name: linear}
- {kind: gradient, name: finetune, epochs: 10}
- {kind: gradient, name: last, epochs: 4}
"""
HOLD = """
import signal, sys
from pathlib import Path
from holotype.run_directory import RunDirectory
signal.signal(signal.SIGTERM, lambda *_: (print("stopped", flush=True), sys.exit(7)))
with RunDirectory(Path({path!r})).lock():
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def holder(run: Path) -> Iterator["subprocess.Popen[str]"]:
    code = HOLD.format(path=str(run))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def log(run: Path, *lines: str) -> None:
    (run / "train.log").write_text("".join(f"{line}\n" for line in lines))


def test_a_run_is_training_while_its_lock_is_held(
    run: Path, holder: "subprocess.Popen[str]"
) -> None:
    assert holder_of(run) == holder.pid
    found = training_progress(run)
    assert (found.state, found.process) == ("training", holder.pid)
    holder.kill()
    holder.wait()
    assert holder_of(run) is None
    assert training_progress(run).state == "stopped"
    (run / "report").mkdir()
    (run / "report" / "index.html").touch()
    assert training_progress(run).state == "finished"


def test_stopping_is_sigterm_to_the_holder(run: Path, holder: "subprocess.Popen[str]") -> None:
    assert stop_holder(run) == holder.pid
    assert holder.wait(timeout=20) == 7  # its own handler has run
    with pytest.raises(RunError, match="no process of this machine"):
        stop_holder(run)


def test_a_run_that_nobody_holds_stops_nobody(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory(run).lock():
        pass
    sent: list[object] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args))
    with pytest.raises(RunError):
        stop_holder(run)
    assert sent == []


def test_the_time_left_is_that_of_all_epochs_to_come(
    run: Path, holder: "subprocess.Popen[str]"
) -> None:
    log(
        run,
        "2026-01-01T12:00:00+0000 finetune epoch 0/10: validation loss 1.0",
        "2026-01-01T12:01:00+0000 finetune epoch 1/10: training loss 1.0",
        "2026-01-01T12:02:10+0000 finetune epoch 2/10: training loss 0.9",
    )
    found = training_progress(run)
    assert found.stage_epochs == (("finetune", 10), ("last", 4))
    assert found.seconds_left == pytest.approx((8 + 4) * 65)
    assert found.last_lines[-1] == "finetune epoch 2/10: training loss 0.9"
    log(run, "2026-01-01T12:00:00+0000 finetune epoch 0/10: validation loss 1.0")
    assert training_progress(run).seconds_left is None


def test_epochs_are_those_of_the_file(run: Path) -> None:
    rows = [
        EpochMetrics("finetune", 0, float("nan"), 1.5, 0.25, 0.0, 10),
        EpochMetrics("finetune", 1, 1.25, 1.0, 0.5, 0.001, 10),
    ]
    write_history(rows, run / "history.csv")
    first, second = read_epochs(run / "history.csv")
    assert first["train_loss"] is None
    assert second == {
        "stage": "finetune", "epoch": 1, "train_loss": 1.25, "val_loss": 1.0,
        "train_accuracy": None, "val_accuracy": 0.5, "learning_rate": 0.001,
    }  # fmt: skip
    (run / "history.csv").write_text("stage,epoch\nx,y\n")
    assert read_epochs(run / "history.csv") == []
