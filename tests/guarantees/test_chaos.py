"""Kills, full disks and crowds: work that was disturbed ends as if it had not been.

    pytest -m slow tests/guarantees/test_chaos.py

Every verb that writes is killed at each of its renames (before and after it in turn), is killed,
terminated and interrupted at random moments, and has the first write to each of its files fail with
ENOSPC from then on, or with EIO once. After each, what stands at the output is whole or refused,
and the same command again gives the same bytes, with no file left over.
"""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import load_bundle
from holotype.errors import BundleError
from holotype.files import TEMPORARY_PREFIX, remove_leftovers
from holotype.predictions import read_predictions

HERE = Path(__file__).parent
RANDOM_KILLS = int(os.environ.get("CHAOS_KILLS", "100"))  # in total
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14_400)]


class Zygote:
    """Runs command lines in forked children of one process that has imported everything."""

    def __init__(self, place: Path) -> None:
        self.place = place
        shim = place / "shim.so"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "chaos_shim.c", "-ldl"],
            check=True,
        )
        environment = os.environ | {
            "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1",
            "MPLCONFIGDIR": str(place / "matplotlib"),
        }  # fmt: skip
        recipe = place / "recipe.yaml"
        recipe.write_text(LINEAR)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.guarantees.chaos_parent", recipe], cwd=HERE.parents[1],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __call__(self, folder: Path, *commands: list[str], **disturbance: Any) -> dict[str, Any]:
        """Run commands side by side; all that they write lies below `folder`."""
        request = {
            "folder": str(folder), "cache": str(folder / "cache"), "prefix": str(folder) + "/",
            "said": str(self.place / "said"), "commands": commands, **disturbance,
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True)
class Work:
    """A command that writes `out`, in a folder that holds what `prepare` put there.

    Attributes:
        again: the command that goes on; the same one where a verb begins anew.
        warm: whether the cache is full, as it is with kept features.
    """

    words: list[str]
    prepare: Callable[[Path], None] = lambda folder: None
    again: list[str] = field(default_factory=list)
    warm: bool = True


FINETUNE = """
name: small
model: efficientnet_lite0
weights: pretrained
image_size: 32
split: {ratios: [0.6, 0.2, 0.2]}
stages:
- {name: head, method: logistic_regression, Cs: [0.1]}
- {name: top, method: gradient_descent, trainable: 1, epochs: 2, batch_size: 16,
   learning_rate: 0.001, head_learning_rate: 0.001}
"""
SCRATCH = """
name: scratch
model: cnn_baseline
weights: none
image_size: 32
split: {ratios: [0.6, 0.2, 0.2]}
stages:
- {name: whole, method: gradient_descent, trainable: all, epochs: 2, batch_size: 16,
   learning_rate: 0.001, head_learning_rate: 0.001, batch_norm: train}
"""
LINEAR = """
name: linear
model: efficientnet_lite0
weights: pretrained
image_size: 32
split: {ratios: [0.6, 0.2, 0.2]}
stages:
- {name: head, method: logistic_regression, Cs: [0.1]}
"""
SVM = """
name: svm
model: hog
split: {ratios: [0.6, 0.2, 0.2]}
stages:
- {name: head, method: svm, kernel: linear, Cs: [1.0], folds: 2}
"""


def _train(recipe: str, *more: str, images: str = "images") -> list[str]:
    words = ["train", images, "--recipe", f"{recipe}.yaml", "--output", "out", *more]
    return [*words, "--deterministic", "--resume"]


def _works(members: Callable[[Path], None], volumes: Callable[[Path], None]) -> dict[str, Work]:
    split = ["split", "images", "--output", "out"]
    return {
        "linear": Work(_train("linear")),
        "finetune": Work(_train("finetune")),
        "scratch": Work(_train("scratch")),
        "svm": Work(_train("svm")),
        "folds": Work(_train("linear", "--folds", "3")),
        "ensemble": Work(["ensemble", "a", "b", "--output", "out"], members),
        "slice": Work(["slice", "volumes", "--output", "out"], volumes),
        "split": Work(split),
        "fetch": Work(["fetch", "synthetic", "--images", "12", "--output", "out"]),
        "archive": Work(["fetch", "images.zip", "--output", "out"]),
    }  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A work whose undisturbed result is known.

    Attributes:
        template: a folder from which each trial starts, its cache full.
        digest: of the result.
        names: of all files below `out`.
    """

    name: str
    work: Work
    template: Path
    digest: str
    names: frozenset[str]
    renames: int
    files: int
    seconds: float


WORKS = (
    "linear", "finetune", "scratch", "svm", "folds", "ensemble", "slice", "split", "fetch",
    "archive",
)  # fmt: skip


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc, by which the shim that kills and fails is made")
    parent = Zygote(tmp_path_factory.mktemp("zygote"))
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "images"
    rng = np.random.default_rng(3)
    for name, colour in {"red": (180, 80, 80), "green": (80, 180, 80)}.items():
        (folder / name).mkdir(parents=True)
        for n in range(15):
            pixels = np.clip(rng.normal(colour, 50, (36, 36, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{n:02d}.png")
    return folder


def _base(folder: Path, images: Path) -> None:
    """What every work may start from."""
    folder.mkdir()
    shutil.copytree(images, folder / "images")
    recipes = {"linear": LINEAR, "finetune": FINETUNE, "scratch": SCRATCH, "svm": SVM}
    for name, text in recipes.items():
        (folder / f"{name}.yaml").write_text(text)


def _volumes(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for label in ("ammonite", "trilobite"):
        for n in range(2):
            place = folder / "volumes" / label / f"{n}"
            place.mkdir(parents=True)
            for z in range(4):
                level = rng.integers(0, 255, (24, 24), dtype=np.uint8)
                Image.fromarray(level).save(place / f"{z}.png")


@pytest.fixture(scope="session")
def stage_of(
    zygote: Zygote, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Stage]:
    made: dict[str, Stage] = {}

    def members(folder: Path) -> None:
        for n, name in enumerate("ab"):
            words = _train("linear", "--seed", str(n), "--set", f"stages.0.Cs=[{1 + 50 * n}]")
            words[words.index("out")] = name
            answer = zygote(folder, words)
            assert answer["results"][0]["code"] == 0, answer

    def make(name: str) -> Stage:
        if name in made:
            return made[name]
        work = _works(members, _volumes)[name]
        place = tmp_path_factory.mktemp(name)
        template, whole = place / "template", place / "whole"
        _base(template, images)
        shutil.make_archive(str(template / "images"), "zip", template, "images")
        work.prepare(template)
        shutil.copytree(template, whole, symlinks=True)
        answer = zygote(whole, work.words)
        assert answer["results"][0]["code"] == 0, answer["results"][0]["said"]
        if work.warm and (whole / "cache").exists():
            shutil.copytree(whole / "cache", template / "cache", dirs_exist_ok=True)
        shutil.rmtree(whole)
        shutil.copytree(template, whole, symlinks=True)
        answer = zygote(whole, work.words)
        assert answer["results"][0]["code"] == 0, answer["results"][0]["said"]
        made[name] = Stage(
            name, work, template, _digest(whole / "out"), _names(whole / "out"),
            answer["renames"], answer["files"], answer["seconds"],
        )  # fmt: skip
        print(made[name].name, made[name].renames, made[name].files, made[name].seconds)
        return made[name]

    return make


def _names(out: Path) -> frozenset[str]:
    return frozenset(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.name != ".lock"
    )


def _digest(out: Path) -> str:
    """Of a run, its bundle and what it predicts; of anything else, all its bytes."""
    h = hashlib.sha256()
    if (out / "recipe.yaml").exists():
        h.update(load_bundle(out).sha256.encode())
        for file in sorted(out.glob("predictions/*.parquet")):
            h.update(read_predictions(file).digest().encode())
        return h.hexdigest()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        h.update(path.relative_to(out).as_posix().encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def _points(count: int) -> list[int]:
    """1 … count; some of them, evenly, where CHAOS_POINTS says so."""
    few = int(os.environ.get("CHAOS_POINTS", count))
    return sorted({round(n) for n in np.linspace(1, count, min(few, count))})


class Trial:
    """One disturbed work, from a fresh copy of its folder."""

    def __init__(self, zygote: Zygote, stage: Stage, place: Path) -> None:
        self.zygote, self.stage = zygote, stage
        self.folder = place / "trial"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(stage.template, self.folder, symlinks=True)
        self.before = {path.name for path in self.folder.iterdir()}

    def disturb(self, **how: Any) -> dict[str, Any]:
        answer = self.zygote(self.folder, self.stage.work.words, **how)
        self._require_nothing_half()
        result: dict[str, Any] = answer["results"][0]
        assert "Traceback" not in result["said"], result["said"]
        return result

    def _require_nothing_half(self) -> None:
        """What has the name of a result is a whole one, or says that it is not."""
        out = self.folder / "out"
        if not out.exists():
            return
        if self.stage.work.words[0] in ("train", "ensemble"):
            try:
                bundle = load_bundle(out)
            except BundleError:
                return
            assert bundle.manifest.decision is not None
            if (out / "report" / "index.html").exists():
                assert _digest(out) == self.stage.digest
        else:
            assert _digest(out) == self.stage.digest

    def finish(self) -> None:
        """The same again gives the same, and leaves nothing over."""
        if not self._has_ended():
            result = self.zygote(self.folder, self.stage.work.words)["results"][0]
            assert result["code"] == 0, result["said"]
        self._require_result()

    def _has_ended(self) -> bool:
        """Whether it was disturbed at its very end, so that the same again would be refused."""
        out, verb = self.folder / "out", self.stage.work.words[0]
        if verb == "ensemble":
            return (out / "report" / "index.html").exists()
        return verb in ("slice", "fetch") and out.exists() and any(out.iterdir())

    def _require_result(self) -> None:
        out = self.folder / "out"
        assert _digest(out) == self.stage.digest
        assert _names(out) == self.stage.names
        for place in {path.parent for path in self.folder.rglob(f"{TEMPORARY_PREFIX}*")}:
            assert self._has_ended() or self.stage.work.words[0] in ("train", "split"), place
            remove_leftovers(place)  # as the next call that writes there does
        left = {path.name for path in self.folder.iterdir()} - self.before - {"out", "cache"}
        assert not left, left
        assert not list(self.folder.rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.parametrize("name", WORKS)
def test_killed_at_every_rename(
    name: str, zygote: Zygote, stage_of: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = stage_of(name)
    assert stage.renames > 0
    for number in _points(stage.renames):
        trial = Trial(zygote, stage, tmp_path)
        result = trial.disturb(kill_at_rename=number, after=number % 2)
        assert result["code"] == -signal.SIGKILL, (number, result)
        trial.finish()


@pytest.mark.parametrize("name", WORKS)
def test_stopped_at_random_moments(
    name: str, zygote: Zygote, stage_of: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = stage_of(name)
    rng = random.Random(20261126 + WORKS.index(name))
    for number in range(max(3, RANDOM_KILLS // len(WORKS))):
        trial = Trial(zygote, stage, tmp_path)
        what = SIGNALS[number % 3]
        moment = rng.uniform(0.02, stage.seconds)
        result = trial.disturb(signal=int(what), after_seconds=moment)
        expected = {
            signal.SIGKILL: {-signal.SIGKILL},
            signal.SIGTERM: {-signal.SIGTERM, 143},
            signal.SIGINT: {130, -signal.SIGINT},
        }
        assert result["code"] in {0, *expected[what]}, (number, what, moment, result)
        trial.finish()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_fails_at_every_file(
    name: str, error: int, zygote: Zygote, stage_of: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = stage_of(name)
    for number in _points(stage.files):
        trial = Trial(zygote, stage, tmp_path)
        result = trial.disturb(fail_at_file=number, error=error, only_once=int(error == errno.EIO))
        assert result["code"] in (0, 1), (number, result)
        if result["code"] == 1:
            last = result["said"].strip().splitlines()[-1]
            assert last.startswith("error: "), (number, result["said"])
            assert TEMPORARY_PREFIX not in last, (number, last)
        trial.finish()


def test_ten_processes_on_one_cold_cache(
    zygote: Zygote, stage_of: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = stage_of("linear")
    trial = Trial(zygote, stage, tmp_path)
    shutil.rmtree(trial.folder / "cache")
    commands = []
    for number in range(10):
        words = list(stage.work.words)
        words[words.index("out")] = f"out{number}"
        commands.append(words)
    answer = zygote(trial.folder, *commands)
    for number, result in enumerate(answer["results"]):
        assert result["code"] == 0, result["said"]
        assert _digest(trial.folder / f"out{number}") == stage.digest
    assert not list((trial.folder / "cache").rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.parametrize("name", ["linear", "ensemble", "slice", "split", "fetch"])
def test_two_processes_on_one_output(
    name: str, zygote: Zygote, stage_of: Callable[[str], Stage], tmp_path: Path
) -> None:
    stage = stage_of(name)
    trial = Trial(zygote, stage, tmp_path)
    results = zygote(trial.folder, stage.work.words, stage.work.words)["results"]
    codes = sorted(result["code"] for result in results)
    assert codes in ([0, 0], [0, 1], [0, 2]), results
    for result in results:
        assert "Traceback" not in result["said"]
        if result["code"]:
            last = result["said"].strip().splitlines()[-1]
            assert re.search("written by another process|already holds|not empty", last), last
    trial._require_result()
