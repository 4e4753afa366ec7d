"""A real MLflow server: what it shows of a run, and that a run is there once.

The server has an environment of its own, since MLflow cannot be installed beside pyarrow 26:

    python -m venv /tmp/mlflow && /tmp/mlflow/bin/pip install mlflow==3.17.2
    HOLOTYPE_TEST_MLFLOW=/tmp/mlflow/bin/mlflow pytest -m slow tests/tracking/test_mlflow_server.py

Without HOLOTYPE_TEST_MLFLOW the test makes it, which takes minutes and needs a package index.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import holotype
from holotype.tracking.mlflow_rest import COMPLETE, IDENTITY
from tests.registry.made import write_run
from tests.tracking.test_track import HISTORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

VERSION = "3.17.2"


class Server:
    """`mlflow server` with a database and artifacts of its own, on loopback."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self.program, "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", self.folder / "artifacts", "--workers", "1"]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        path = f"{self.program.parent}{os.pathsep}{environment['PATH']}"
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={**environment, "PATH": path},
            )  # fmt: skip
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).read()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("HOLOTYPE_TEST_MLFLOW")
    if named:
        return Path(named)
    environment = tmp_path_factory.mktemp("mlflow-environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "-q", f"mlflow=={VERSION}"]
    subprocess.run(pip, check=True)
    return environment / "bin" / "mlflow"


@pytest.fixture(scope="module")
def server(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(program, tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


def made(path: Path, name: str) -> Path:
    run = write_run(path, name)
    (run / "history.csv").write_text(HISTORY)
    (run / "report" / "roc.png").write_bytes(b"png")
    return run


def require_complete(server: Server, run: Path) -> None:
    """The server has the run once, with all that belongs to it."""
    from mlflow import MlflowClient

    client = MlflowClient(server.uri, server.uri)
    name = holotype.load(run).manifest.name
    experiment = client.get_experiment_by_name(name)
    digest = holotype.load(run).digest
    (found,) = client.search_runs([experiment.experiment_id], f"tags.`{IDENTITY}` = '{digest}'")
    assert found.data.tags[COMPLETE] == "true"
    assert found.info.status == "FINISHED"
    assert found.data.params["name"] == "linear"
    assert found.data.metrics["test/accuracy"] == 0.9
    run_id = found.info.run_id
    curve = client.get_metric_history(run_id, "head/val_loss")
    assert [(each.step, each.value) for each in curve] == [(0, 1.1), (1, 0.8)]
    files = {file.path for folder in ("report", "bundle", None)
             for file in client.list_artifacts(run_id, folder)}  # fmt: skip
    expected = {"report/metrics.json", "report/roc.png", "bundle/manifest.json", "recipe.yaml"}
    assert expected | {"bundle/backbone.onnx"} <= files
    (version,) = client.search_model_versions(f"name = '{name}'")
    assert version.run_id == run_id


def test_a_run_is_there_once_with_all_that_belongs_to_it(server: Server, tmp_path: Path) -> None:
    run = made(tmp_path / "cells-1", "cells")
    target = f"mlflow={server.uri}"
    found = holotype.track(run, to=target)
    assert found.sent[target].startswith(f"{server.uri}/#/experiments/")
    require_complete(server, run)
    assert holotype.track(run) == found
    (run / "tracking.json").unlink()  # as if the process had been killed after the last request
    assert holotype.track(run, to=target) == found
    require_complete(server, run)


@pytest.mark.parametrize("after", [1, 4, 8, 12])
def test_a_server_that_stops_in_the_middle_gets_the_rest_later(
    after: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path / f"stopped-{after}", f"stopped-{after}")
    target = f"mlflow={server.uri}"
    requests = 0
    from mlflow.utils import rest_utils

    send = rest_utils.http_request

    def counting(*arguments: object, **options: object) -> object:
        nonlocal requests
        requests += 1
        if requests == after:
            server.stop()
        return send(*arguments, **options)

    for module in ("rest_utils", "credentials"):
        holder = sys.modules.get(f"mlflow.utils.{module}")
        if holder is not None and hasattr(holder, "http_request"):
            monkeypatch.setattr(holder, "http_request", counting)
    monkeypatch.setattr("mlflow.store.artifact.http_artifact_repo.http_request", counting)
    found = holotype.track(run, to=target)
    monkeypatch.undo()
    assert requests >= after
    assert list(found.failed) == [target]
    server.start()
    again = holotype.track(run)
    assert list(again.sent) == [target]
    require_complete(server, run)
