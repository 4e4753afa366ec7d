"""Every command and every Python fence of the documentation runs, each page in a scratch folder.

A page finds what it names: `photos`, `new-photos`, `cat.jpg`, `volumes`, finished runs. Trainings
are made small (`SMALLER`); what cannot run here is named with the reason (`NOT_HERE`).
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import holotype
from holotype.dataset.sources.synthetic import make_synthetic
from tests.conftest import Cli
from tests.test_docs import PAGES, ROOT
from tests.test_examples import write_volumes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVER = "localhost:8000"

# What a line holds, and why it does not run here.
NOT_HERE = (
    (r"^holotype doctor", "looks at this machine: tests/pipeline/test_doctor.py"),
    (r"^[A-Z_]+=|^export ", "needs a file or a database that is not here"),
    (r"ray|slurm", "needs a cluster: tests/executors"),
    (r"SWEEP.yaml|\bDATA\b|FILE-OR|RUN@|OTHERS|cells 7", "a word to be replaced"),
    (r"dogs-vs-cats|minc|pets/table.csv", "is downloaded: tests/dataset/test_published_layouts.py"),
    (r"mlflow|--track|^holotype track", "needs a server or an extra: tests/tracking"),
    (r"openvino", "takes minutes: tests/exports"),
    (r"convnext|resnet50", "weights that cannot be had without a network"),
    (r"--data shapes others|--budget", "takes minutes: tests/search"),
    (r"shapes (--recipe progressive|--recipe pruned|--folds|--output runs/(fine|long))|--teacher",
     "takes minutes: tests/training, tests/pipeline"),
    (r"--recipe identify|\bknown\b", "a table of individuals: tests/identification"),
    (r"--host 0.0.0.0|keys.json|v1/feedback", "opens the machine: tests/serving"),
    (r"^holotype (retrain|watch|identify|dashboard)", "has tests of its own"),
)  # fmt: skip
# What is made smaller in a command, so that all pages together take minutes.
SMALLER = (
    (r"--trials \d+", "--trials 2"),
    (r"--epochs \d+", "--epochs 1"),
    (r"--images 120", "--images 60"),
    (r"--seeds 0 1", "--seeds 0"),
    (r"^(holotype (?:train|tune|sweep) (?!.*(?:--model hog|--print|--space|--image-size)).*)$",
     r"\1 --set image_size=32"),
)  # fmt: skip
# Python that needs a server's log or a registry in service.
FENCES_ELSEWHERE = ("docs/retraining.md", "docs/serving.md")
# Pages that run in tests of their own.
OTHER_TESTS = ("benchmarks/RESULTS.md", "examples/README.md")
# What a page makes itself, and what it takes for granted.
MAKES = {"README.md": ("shapes", "runs"), "docs/people/teacher.md": ("shapes",)}
IN_THE_REGISTRY = (
    "holotype registry add runs/cells-1 --name cells",
    "holotype registry promote cells 1",
)
BEFORE = {"docs/serving.md": IN_THE_REGISTRY, "docs/dashboard.md": IN_THE_REGISTRY}
# Pages whose fences go on from what their commands left.
TOLD_AS_ONE = ("docs/start.md", "docs/guides/serve.md", "docs/guides/ship.md")
LOOK_AT_FINDINGS = ("audit", "predict", "evaluate", "slice", "explain", "registry")  # exit code 1


def commands(page: Path) -> list[str]:
    """Every line of an indented block; what is broken by a backslash is joined."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [
        line for line in lines if re.match(r"holotype |curl |export |[A-Z_]+=\S+ holotype", line)
    ]


def fences(page: Path, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(page.read_text("utf-8")) if name == language]


def reason(command: str) -> str | None:
    return next((why for sign, why in NOT_HERE if re.search(sign, command)), None)


def smaller(command: str) -> str:
    for pattern, replacement in SMALLER:
        command = re.sub(pattern, replacement, command.partition("  #")[0].rstrip())
    return command


@pytest.fixture(scope="module")
def named_by_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    make_synthetic(folder / "photos", classes=2, images=60, image_size=48)
    make_synthetic(folder / "shapes", classes=4, images=80, image_size=48)
    make_synthetic(folder / "new-photos", classes=2, images=24, image_size=48, seed=7)
    shutil.copytree(folder / "new-photos", folder / "images")
    Image.open(folder / "photos" / "disc" / "0000.png").save(folder / "cat.jpg")
    for number in (1, 2):
        run = folder / "runs" / f"photos-{number}"
        holotype.train(
            folder / "photos", output=run, model="hog", recipe="linear", image_size=32,
            overrides={"seed": number},
        )  # fmt: skip
        shutil.copytree(run, folder / "runs" / f"cells-{number}")
    shutil.copytree(run, folder / "runs" / "cells")
    (folder / "examples").symlink_to(ROOT / "examples")
    write_volumes(folder / "volumes")
    return folder


@pytest.fixture
def place(named_by_pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    copy = shutil.copytree(named_by_pages, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def shell(cli: Cli) -> "Iterator[Shell]":
    shell = Shell(cli)
    yield shell
    shell.stop_server()


class Shell:
    """Runs a command as a page has it; a server goes on until the next one, or the page's end."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.address = SERVER
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> None:
        command = smaller(command).replace(SERVER, self.address)
        words = shlex.split(command, comments=True)
        if words[0] == "curl":
            subprocess.run([*words, "-sS", "--fail-with-body"], check=True, timeout=60)
            return
        if words[1] == "serve" and words[2] not in ("keys", "status"):
            self._serve(words[1:])
            return
        for option in ("--exclude", "--relabel"):
            if option in words:
                confirm(Path(words[words.index(option) + 1]))
        output = words[words.index(">") + 1] if ">" in words else None
        code, out, said = self.cli(*words[1 : words.index(">") if ">" in words else None])
        allowed = (0, 1) if words[1] in LOOK_AT_FINDINGS else (0,)
        assert code in allowed, f"{command}\n{said}"
        assert "error:" not in said or code == 0, f"{command}\n{said}"
        if output:
            Path(output).write_text(out, "utf-8")

    def _serve(self, words: list[str]) -> None:
        self.stop_server()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"localhost:{port}"
        words = words[: words.index("--port")] if "--port" in words else words
        self._server = subprocess.Popen(
            [sys.executable, "-m", "holotype", *words, "--port", str(port), "--workers", "1"]
        )
        ends = time.monotonic() + 60
        while time.monotonic() < ends and self._server.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"holotype {' '.join(words)} does not answer")

    def stop_server(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)
            self._server = None


def confirm(table: Path) -> None:
    """What a page asks a person to write into the table of an audit."""
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows.assign(confirmed="yes", new_label="disc").to_csv(table, index=False)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


TRIED = [page for page in PAGES if ids(page) not in OTHER_TESTS]


@pytest.mark.parametrize("page", [page for page in TRIED if commands(page)], ids=ids)
def test_the_commands_of_a_page_run(page: Path, place: Path, shell: Shell) -> None:
    remove_what_it_makes(page, place)
    for command in (*BEFORE.get(ids(page), ()), *commands(page)):
        if reason(command) is None:
            shell.run(command)
    if ids(page) in TOLD_AS_ONE:
        run_fences(page, shell.address)


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in TRIED
        if fences(page, "python") and ids(page) not in (*TOLD_AS_ONE, *FENCES_ELSEWHERE)
    ],
    ids=ids,
)
def test_the_python_of_a_page_runs(page: Path, place: Path) -> None:
    remove_what_it_makes(page, place)
    run_fences(page, SERVER)


def remove_what_it_makes(page: Path, place: Path) -> None:
    for name in MAKES.get(ids(page), ()):
        shutil.rmtree(place / name)


def run_fences(page: Path, address: str) -> None:
    names: dict[str, object] = {"start_s": 0.0, "end_s": time.time()}
    for code in fences(page, "python"):
        exec(compile(code.replace(SERVER, address), ids(page), "exec"), names)


def test_most_commands_run() -> None:
    """What does not run is the exception, and each reason is still used."""
    all_commands = [command for page in TRIED for command in commands(page)]
    for sign, why in NOT_HERE:
        assert any(re.search(sign, command) for command in all_commands), why
    assert sum(reason(command) is None for command in all_commands) > 0.6 * len(all_commands)


def test_the_scratch_folder_is_not_this_one(place: Path) -> None:
    assert Path.cwd() == place
    assert ROOT not in place.parents
    assert os.environ["HF_HUB_OFFLINE"] == "1"
