"""The files of deploy/ are what the server needs; their commands run in a fresh environment."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from holotype.bundle.bundle import Bundle
from holotype.serving.http.keys import add_key
from tests.serving.running import Running, running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MAX_BYTES = 350_000_000
FIRST_ANSWER_S = 3.0


def instructions(file: Path, name: str) -> list[str]:
    """The lines of one instruction of a Dockerfile, joined where they are continued."""
    text = file.read_text().replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(name)]


def exec_form(line: str) -> list[str]:
    found: list[str] = json.loads(line[line.index("[") :])
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_lines_of_the_dockerfile_run_in_a_fresh_environment(
    tiny_bundle: Bundle, images: list[Path], tmp_path: Path
) -> None:
    """Its RUN lines but `useradd`, which needs root; then its CMD and its HEALTHCHECK."""
    file, environment, source = DEPLOY / "Dockerfile", tmp_path / "env", tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "docs", "tests", "runs"))
    places = {"/opt/holotype": str(environment), "/source": str(source)}

    def here(line: str) -> str:
        for there, place in places.items():
            line = line.replace(there, place)
        return line

    home = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    for line in instructions(file, "RUN"):
        if not line.startswith("useradd"):
            subprocess.run(here(line), shell=True, check=True, env=home)
    size = sum(path.lstat().st_size for path in environment.rglob("*"))
    installed = {path.name.lower() for path in environment.rglob("site-packages/*")}
    print(f"{size / 1e6:.0f} MB")
    assert size < MAX_BYTES
    assert not installed & {"torch", "pandas", "sklearn", "scipy", "pyarrow", "matplotlib"}

    keys = tmp_path / "keys.json"
    key = add_key(keys, "test", 100.0)
    (command,) = [exec_form(line) for line in instructions(file, "CMD")]
    port = "18431"
    swapped = {
        "cells=/models/cells": f"cells={tiny_bundle.path}",
        "/run/holotype/keys.json": str(keys),
        "8000": port,
        "0.0.0.0": "127.0.0.1",
    }
    words = [swapped.get(word, word) for word in command]
    env = {**home, "PATH": f"{environment}/bin:{home['PATH']}", "HOLOTYPE_CACHE": str(tmp_path)}
    subprocess.run(["holotype", "--version"], env=env, check=True)  # compiles, as an image has it
    started = time.perf_counter()
    process = subprocess.Popen(words, env=env)
    try:
        answer = None
        while answer is None and time.perf_counter() - started < 30:
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{port}/v1/models/cells/predict",
                    content=images[0].read_bytes(),
                    headers={"content-type": "image/png", "authorization": f"Bearer {key}"},
                    timeout=60,
                )
            except httpx.ConnectError:
                time.sleep(0.02)
        seconds = time.perf_counter() - started
        # One process starts the others: what the first and the slowest of them computed is what a
        # quiet machine waits for, and other programs on this one do not count.
        server = psutil.Process(process.pid)
        times = [each.cpu_times() for each in (server, *server.children())]
        computed_s = [each.user + each.system for each in times]
        path_s = computed_s[0] + max(computed_s[1:])
        print(f"first answer after {seconds:.2f} s, {path_s:.2f} s of them computing")
        assert answer is not None
        assert answer.status_code == 200
        (check,) = instructions(file, "HEALTHCHECK")
        asks = [word.replace(":8000", f":{port}") for word in exec_form(check)]
        subprocess.run(asks, env=env, check=True)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert path_s < FIRST_ANSWER_S


def test_the_dashboard_asks_for_metrics_that_there_are(server: Running) -> None:
    text = httpx.get(server.url + "/metrics").text
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    known |= {re.sub("_total$", "", name) for name in known}
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    asked = set(re.findall(r"holotype_\w+", " ".join(queries)))
    assert asked
    assert {re.sub("_(bucket|sum|count|total)$", "", name) for name in asked} <= known


def test_the_files_of_compose_and_kubernetes_name_what_there_is() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service["volumes"]
        if volume.startswith("./")
    ]
    made_by_hand = {"./keys", "./prometheus-key"}
    assert all((DEPLOY / name).is_file() for name in mounted if name not in made_by_hand)
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in ("/healthz", "/readyz")
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_the_folder_of_the_keys_is_mounted_and_not_the_file() -> None:
    """A file that is mounted alone stays the old one when a key is removed, which replaces it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["holotype"]
    (keys,) = (word for word in compose["command"] if word.startswith("--keys="))
    targets = [volume.split(":")[1] for volume in compose["volumes"]]
    assert keys.removeprefix("--keys=").rpartition("/")[0] in targets
    (command,) = [exec_form(line) for line in instructions(DEPLOY / "Dockerfile", "CMD")]
    folder = command[command.index("--keys") + 1].rpartition("/")[0]
    assert f":{folder}:ro " in (DEPLOY / "Dockerfile").read_text()
    deployment, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (keys,) = (word for word in container["args"] if word.startswith("--keys="))
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert "subPath" not in mounts[keys.removeprefix("--keys=").rpartition("/")[0]]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "holotype.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    program = shlex.split(line.removeprefix("ExecStart="))[0]
    (tmp_path / "holotype.service").write_text(unit.replace(program, "/bin/true"))
    found = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "holotype.service"],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_TARGET": "console"},
    )
    assert "holotype.service" not in found.stderr, found.stderr


def test_nginx_serves_it_below_a_prefix_with_tls(
    tiny_bundle: Bundle, images: list[Path], tmp_path: Path
) -> None:
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=models.example.org", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ("--workers", "1", "--root-path", "/cells", "--allowed-hosts", "models.example.org")
    with running(tiny_bundle.path, *words, "--proxies", "127.0.0.1") as server:
        snippet = (DEPLOY / "nginx.conf").read_text()
        for there, here in {
            "127.0.0.1:8000;": f"127.0.0.1:{server.port};",
            "listen 443": "listen 127.0.0.1:18443",
            "/etc/ssl/models.example.org.pem": str(certificate),
            "/etc/ssl/models.example.org.key": str(key),
        }.items():
            assert there in snippet
            snippet = snippet.replace(there, here)
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{snippet}\n}}\n"
        )
        nginx = subprocess.Popen(["nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
        try:
            url = "https://127.0.0.1:18443/cells"
            with httpx.Client(verify=False, headers={"host": "models.example.org"}) as client:
                answer = None
                for _ in range(100):
                    try:
                        answer = client.get(url + "/readyz")
                        break
                    except httpx.ConnectError:
                        time.sleep(0.05)
                assert answer is not None
                assert answer.status_code == 200
                content = images[0].read_bytes()
                answer = client.post(
                    url + "/v1/models/tiny/predict",
                    content=content,
                    headers={"content-type": "image/png"},
                )
                assert answer.json()["predictions"][0]["class"] in tiny_bundle.classes
                described = client.get(url + "/openapi.json").json()
                assert described["servers"] == [{"url": "/cells"}]
                wrong = client.get(url + "/readyz", headers={"host": "evil.example"})
                assert wrong.status_code == 421
        finally:
            nginx.terminate()
            nginx.wait()
