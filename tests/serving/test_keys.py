"""Keys, interfaces and ports: who may ask, and what is told at the start."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from holotype.bundle.bundle import Bundle
from holotype.serving.http.keys import add_key, remove_key
from tests.conftest import Cli
from tests.serving.running import Running, running


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(keys: Path) -> str:
    return add_key(keys, "lab", 5.0)


@pytest.fixture(scope="module")
def locked(keys: Path, key: str, tiny_bundle: Bundle) -> Iterator[Running]:
    with running(tiny_bundle.path, "--workers", "1", "--keys", keys) as server:
        yield server


def test_without_a_key_only_health_is_told(locked: Running, key: str) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert httpx.get(locked.url + path).status_code == 200
    for path in ("/metrics", "/v1/models", "/v1/models/tiny", "/nowhere"):
        for sent in ({}, {"authorization": f"Bearer {key}x"}, {"authorization": key}):
            answer = httpx.get(locked.url + path, headers=sent)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_has_a_rate(locked: Running, key: str) -> None:
    with httpx.Client(headers={"authorization": f"Bearer {key}"}) as client:
        answers = [client.get(locked.url + "/v1/models") for _ in range(30)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5] == [200] * 5
    assert statuses.count(429) > 10
    assert "retry-after" in answers[-1].headers


def test_a_removed_key_is_refused_within_a_second(locked: Running, keys: Path) -> None:
    second = add_key(keys, "second", 100.0)
    time.sleep(1.2)
    sent = {"authorization": f"Bearer {second}"}
    assert httpx.get(locked.url + "/v1/models", headers=sent).status_code == 200
    remove_key(keys, "second")
    time.sleep(1.2)
    assert httpx.get(locked.url + "/v1/models", headers=sent).status_code == 401


def test_the_file_holds_no_key(keys: Path, key: str) -> None:
    assert key not in keys.read_text()
    assert keys.stat().st_mode & 0o077 == 0


def test_no_other_interface_is_served_without_keys(cli: Cli, tiny_bundle: Bundle) -> None:
    code, _, error = cli("serve", tiny_bundle.path, "--host", "0.0.0.0")
    assert code == 2
    assert "holotype serve keys add" in error


@pytest.mark.parametrize("workers", [0, -1])
def test_a_server_without_a_worker_is_refused(workers: int, cli: Cli, tiny_bundle: Bundle) -> None:
    code, _, error = cli("serve", tiny_bundle.path, f"--workers={workers}")
    assert code == 2
    assert f"workers is {workers}; expected 1 or more" in error


def test_a_port_that_is_taken_is_told_at_once(
    cli: Cli, server: Running, tiny_bundle: Bundle
) -> None:
    code, _, error = cli("serve", tiny_bundle.path, "--port", server.port)
    assert code == 1
    assert "choose another --port" in error.lower()


def test_every_process_of_a_killed_server_ends(tiny_bundle: Bundle) -> None:
    with running(tiny_bundle.path, "--workers", "2") as server:
        workers = server.workers
        server.process.kill()
        server.process.wait()
        gone, alive = psutil.wait_procs(workers, timeout=5)
        assert (len(gone), alive) == (2, [])
