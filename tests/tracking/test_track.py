"""Runs are sent to trackers once; one that cannot be reached costs a run nothing."""

import json
import socket
from pathlib import Path

import pytest

import holotype
from holotype.errors import MissingExtra, NotARun, UsageError
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.tracking.track import track_trained
from holotype.tracking.tracked_values import tracked_values
from holotype.tracking.tracking_target import parse_targets
from tests.conftest import Cli
from tests.registry.made import write_run

HISTORY = """\
stage,epoch,train_loss,val_loss,val_accuracy
head,0,nan,1.1,0.3
head,1,0.9,0.8,0.6
full,1,0.5,0.4,0.85
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = write_run(tmp_path / "runs" / "cells-1", "cells")
    (path / "history.csv").write_text(HISTORY)
    (path / "report" / "roc.png").write_bytes(b"png")
    return path


@pytest.fixture
def nowhere() -> str:
    """The address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_what_is_told_of_a_run(run: Path) -> None:
    (run / "recipe.yaml").write_text("name: full\nstages:\n- epochs: 3\n- epochs: 5\n")
    values = tracked_values(RunDirectory(run))
    assert values.parameters == {"name": "full", "stages.0.epochs": "3", "stages.1.epochs": "5"}
    assert values.epochs[0].metrics == {"head/val_loss": 1.1, "head/val_accuracy": 0.3}
    assert values.epochs[2].metrics["full/train_loss"] == 0.5
    assert [epoch.step for epoch in values.epochs] == [0, 1, 2]
    assert values.scores["test/accuracy"] == 0.9
    assert values.scores["test/accuracy_low"] < 0.9 < values.scores["test/accuracy_high"]
    assert [plot.name for plot in values.plots] == ["roc.png"]


def test_tensorboard_reads_what_was_written(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        found = holotype.track(run, to="tensorboard")
    assert found.sent == {"tensorboard": str(run / "tensorboard")}
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    assert {"head/val_loss", "full/val_accuracy", "test/accuracy"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("head/val_loss")] == [0, 1]
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_a_server_that_is_not_there_costs_nothing(run: Path, nowhere: str, cli: Cli) -> None:
    said: list[str] = []

    class Heard(Progress):
        def log(self, line: str) -> None:
            said.append(line)

    track_trained(RunDirectory(run), parse_targets([f"mlflow={nowhere}"]), Heard())
    assert f"Later: holotype track {run}" in said[-1]
    assert json.loads((run / "tracking.json").read_text()) == {f"mlflow={nowhere}": None}
    code, out, _ = cli("track", run)
    assert code == 1
    assert "not sent: the MLflow server at" in out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("wandb", "is no tracker"),
        ("mlflow", "needs the address of a server"),
        ("mlflow=sqlite:///x.db", "needs the address of a server"),
        ("mlflow=http://ana:secret@host", "must not hold a password"),
        ("tensorboard=here", "is no tracker"),
    ],
)
def test_what_is_no_tracker_is_refused_before_any_work(
    word: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match=message) as refused:
        holotype.Resources(track=[word])
    assert "secret" not in str(refused.value)


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000/")
    (target,) = parse_targets(["mlflow", "mlflow=http://mlflow.example:5000"])
    assert str(target) == "mlflow=http://mlflow.example:5000"


def test_without_its_extra_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"holotype\[tracking\]"):
        parse_targets(["tensorboard"])


def test_what_cannot_be_sent_is_said(run: Path) -> None:
    with pytest.raises(UsageError, match="to mlflow=URI"):
        holotype.track(run)
    (run / "report" / "metrics.json").unlink()
    with pytest.raises(NotARun, match="not finished"):
        holotype.track(run, to="tensorboard")


def test_train_sends_its_run(synthetic: Path, tmp_path: Path, nowhere: str) -> None:
    resources = holotype.Resources(track=["tensorboard", f"mlflow={nowhere}"])
    run = tmp_path / "run"
    trained = holotype.train(synthetic, model="hog+lbp", output=run, resources=resources)
    known = json.loads((trained.path / "tracking.json").read_text())
    assert known["tensorboard"] == str(trained.path / "tensorboard")
    assert known[f"mlflow={nowhere}"] is None
    assert trained.metrics["accuracy"].value
