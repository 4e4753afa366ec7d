"""Runs what a page says, one line after the other, as somebody at a terminal does."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Cli
from tests.documentation.commands import DATABASE, SERVER, smaller
from tests.test_docs import ROOT

# Exit code 1 of these says that there is something to look at, or that nobody listened; that of an
# export may say that int8 lost too much, for which the images of the pages are too few.
LOOK_AT_FINDINGS = (
    "audit", "predict", "evaluate", "slice", "explain", "registry", "doctor", "watch", "retrain",
    "track",
)  # fmt: skip
CURL = ("-sS", "--fail-with-body")
ASSIGNED = re.compile(r"[A-Z_]+=")


class Shell:
    """A terminal in the working directory.

    What goes on until it is interrupted (a server, pages, a watch) goes on until the next of these,
    or the end of the page.
    """

    def __init__(self, cli: Cli, environment: pytest.MonkeyPatch) -> None:
        self.cli = cli
        self.address = SERVER
        self.database = DATABASE
        self._environment = environment
        self._goes_on: subprocess.Popen[bytes] | None = None

    def run(self, command: str) -> None:
        command = smaller(command).replace(SERVER, self.address).replace(DATABASE, self.database)
        words = shlex.split(command)
        if words[0] == "export":
            self._environment.setenv(*words[1].split("=", maxsplit=1))
        elif ASSIGNED.match(words[0]):
            with pytest.MonkeyPatch.context() as for_this_command:
                for_this_command.setenv(*words[0].split("=", maxsplit=1))
                self._holotype(words[1:], command)
        elif words[0] == "curl":
            self._curl(words)
        elif words[0] == "make":
            self._make(words)
        elif words[0] in ("python3", "uv"):
            module = [] if words[0] == "python3" else ["-m", "uv"]
            subprocess.run([sys.executable, *module, *words[1:]], check=True, timeout=60)
        elif words[0] == "torchrun":
            module = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
            subprocess.run(module, check=True, timeout=300)
        elif _goes_on(words):
            self._start(words[1:])
        else:
            self._holotype(words, command)

    def _holotype(self, words: list[str], command: str) -> None:
        for option in ("--exclude", "--relabel"):
            if option in words:
                confirm(Path(words[words.index(option) + 1]))
        output = words[words.index(">") + 1] if ">" in words else None
        code, out, said = self.cli(*words[1 : words.index(">") if ">" in words else None])
        may_say_no = words[1] in LOOK_AT_FINDINGS or "is not written: accuracy on" in said
        assert code == 0 or (may_say_no and code == 1), f"{command}\n{said}"
        assert "error:" not in said or may_say_no, f"{command}\n{said}"
        if output:
            Path(output).write_text(out, "utf-8")

    def _curl(self, words: list[str]) -> None:
        told = " ".join(words)
        if "0193…" in told:  # the id of an answer, which a reader has seen before
            asked = ["curl", *CURL, "--data-binary", "@cat.jpg", "-H", "content-type: image/jpeg"]
            with urllib.request.urlopen(f"http://{self.address}/v1/models", timeout=5) as models:
                name = json.loads(models.read())["models"][0]["model"]
            url = f"http://{self.address}/v1/models/{name}/predict"
            answer = subprocess.run([*asked, url], check=True, capture_output=True, timeout=60)
            request_id = json.loads(answer.stdout)["request_id"]
            words = [word.replace("0193…", request_id) for word in words]
        subprocess.run([*words, *CURL], check=True, timeout=60)

    def _make(self, words: list[str]) -> None:
        """In a copy of what it reads, where the environment is installed already."""
        shutil.copyfile(ROOT / "Makefile", "Makefile")
        shutil.copytree(ROOT / "notebooks", "notebooks", ignore=lambda *_: ["_build"])
        programs = Path(sys.executable).parent
        there = ["-o", ".venv/.installed", f"BIN={programs}"]
        subprocess.run([*words, *there], check=True, timeout=120)

    def _start(self, words: list[str]) -> None:
        """Start it, and see it answer over HTTP, or say something where it serves nothing."""
        self.stop()
        if words[0] == "watch":
            self._goes_on = _process(words, stdout=subprocess.PIPE)
            assert self._goes_on.stdout is not None
            assert self._goes_on.stdout.readline()
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"localhost:{port}"
        words = words[: words.index("--port")] if "--port" in words else words
        workers = ["--workers", "1"] if words[0] == "serve" else []
        self._goes_on = _process([*words, "--port", str(port), *workers])
        page = "readyz" if words[0] == "serve" else "dashboard/"
        ends = time.monotonic() + 60
        while time.monotonic() < ends and self._goes_on.poll() is None:
            if _answers(f"http://{self.address}/{page}"):
                return
            time.sleep(0.1)
        raise AssertionError(f"holotype {' '.join(words)} does not answer")

    def stop(self) -> None:
        if self._goes_on is not None:
            self._goes_on.terminate()
            self._goes_on.wait(30)
            if self._goes_on.stdout is not None:
                self._goes_on.stdout.close()
            self._goes_on = None


def _goes_on(words: list[str]) -> bool:
    """Whether a command goes on until it is interrupted."""
    if words[1] == "serve":
        return words[2] not in ("keys", "status")
    return words[1] == "dashboard" or (words[1] in ("watch", "retrain") and "--every" in words)


def _process(words: list[str], stdout: int | None = None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "holotype", *words], stdout=stdout)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as refused:
        return refused.code == 401  # a key is asked for
    except OSError:
        return False
    return True


def confirm(table: Path) -> None:
    """What a page asks a person to write into the table of an audit."""
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    labels = [Path(path).parent.name for path in rows["path"]]
    rows.assign(confirmed="yes", new_label=labels).to_csv(table, index=False)
