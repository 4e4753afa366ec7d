"""A run that is killed goes on as if nothing had happened.

Who is killed is a real process, by SIGKILL; who goes on is this one.
"""

import contextlib
import importlib.util
import io
import json
import operator
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.bundle.bundle import load_bundle
from holotype.cli.app import run as command_line

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_net.py"
WIDTH = 192  # so wide that writing its weights takes a while

# A head by gradient, then the top of the network: activations are kept twice.
RECIPE = """
name: tiny
model_options: {{width: {width}}}
weights: {weights}
image_size: 32
seed: 3
split: {{ratios: [0.6, 0.2, 0.2], seed: 1}}
stages:
  - &stage
    name: head
    method: gradient_descent
    trainable: 0
    views: 2
    epochs: 2
    batch_size: 16
    head_learning_rate: 0.001
    patience: 9
  - {{<<: *stage, name: top, trainable: 1, epochs: 4, learning_rate: 0.0003}}
"""


COLOURS = {"red": (150, 90, 90), "green": (90, 150, 90), "blue": (90, 90, 150)}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of three colours: even a random network can learn to tell them apart."""
    directory = tmp_path_factory.mktemp("resume") / "colours"
    rng = np.random.default_rng(5)
    for name, colour in COLOURS.items():
        (directory / name).mkdir(parents=True)
        for n in range(24):
            pixels = np.clip(rng.normal(colour, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
            PillowImage.fromarray(pixels).save(directory / name / f"{n}.png")
    return directory


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that starts from weights in a file, as a connected machine would."""
    import torch
    from safetensors.torch import save_file

    directory = tmp_path_factory.mktemp("recipe")
    spec = importlib.util.spec_from_file_location("my_net", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    weights = directory / "my_net.safetensors"
    save_file(module.build(WIDTH).state_dict(), weights)
    file = directory / "tiny.yaml"
    file.write_text(RECIPE.format(width=WIDTH, weights=weights))
    return file


class Command:
    """`holotype train`, with a cache of its own."""

    def __init__(self, data: Path, recipe: Path, run: Path) -> None:
        self.run = run
        self.words = [
            *("train", str(data), "--recipe", str(recipe), "--output", str(run)),
            *("--model", f"{EXAMPLE}:build", "--deterministic", "--resume"),
        ]
        self.environment = {"HOLOTYPE_CACHE": str(run.parent / f"{run.name}-cache")}

    def start(self) -> subprocess.Popen[str]:
        program = str(Path(sys.executable).with_name("holotype"))
        return subprocess.Popen(
            [program, *self.words], env=os.environ | self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def finish(self) -> str:
        """Run to the end, in this process; what was said."""
        code, said = self._run()
        assert code == 0, said
        return said

    def refused(self, *more: str) -> str:
        """What is said when it is refused with one line."""
        code, said = self._run(*more)
        assert code == 1
        assert "Traceback" not in said
        return said

    def _run(self, *more: str) -> tuple[int, str]:
        import torch

        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
            for name, value in {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", **self.environment}.items():
                patch.setenv(name, value)
            with contextlib.redirect_stderr(said):
                code = command_line([*self.words, *more])
        torch.use_deterministic_algorithms(False)
        return code, said.getvalue()

    def kill_when(self, due: Callable[[float], bool]) -> bool:
        """Start it and kill it when it is due; whether it was still running."""
        process = self.start()
        began = time.monotonic()
        while process.poll() is None and not due(time.monotonic() - began):
            time.sleep(0.003)  # less takes as much of a core as the training does
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return alive


@pytest.fixture(scope="module")
def undisturbed(colours: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A run that nobody killed."""
    command = Command(colours, recipe, tmp_path_factory.mktemp("whole") / "run")
    command.finish()
    return command


def _saying(run: Path, words: str) -> Callable[[float], bool]:
    """Due as soon as the log says this."""
    return lambda _: (run / "train.log").is_file() and words in (run / "train.log").read_text()


def _writing(directory: Path) -> Callable[[float], bool]:
    """Due while something is being written in there."""
    return lambda _: any(directory.rglob(".tmp-*"))


@pytest.mark.parametrize(
    "spots",  # for the middle of an epoch see the next test
    [
        ["a checkpoint write"],
        pytest.param(
            ["the feature pass", "a checkpoint write", "an export"], marks=pytest.mark.slow
        ),
    ],
    ids=len,
)
def test_a_run_killed_at_its_tender_spots_ends_with_the_same_bundle(
    spots: list[str], colours: Path, recipe: Path, undisturbed: Command, tmp_path: Path
) -> None:
    command = Command(colours, recipe, tmp_path / "run")
    due = {
        "the feature pass": _writing(tmp_path / "run-cache" / "features"),
        "a checkpoint write": _writing(command.run / "checkpoints"),
        "an export": _saying(command.run, "exporting the trained network"),
    }
    for spot in spots:
        assert command.kill_when(due[spot]), f"the run ended before it could be killed in {spot}"
    command.finish()
    assert load_bundle(command.run).sha256 == load_bundle(undisturbed.run).sha256
    environment = json.loads((command.run / "environment.json").read_text(encoding="utf-8"))
    assert environment["training_resumed"]  # its seconds are not all


def test_sigterm_writes_a_state_and_exits_with_143(
    colours: Path, recipe: Path, undisturbed: Command, tmp_path: Path
) -> None:
    command = Command(colours, recipe, tmp_path / "run")
    log = command.run / "train.log"
    process = command.start()
    while not (log.is_file() and "top epoch 1/" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "--resume goes on" in err
    assert "Traceback" not in err
    assert (command.run / "checkpoints" / "top.state.safetensors").is_file()
    command.finish()
    assert load_bundle(command.run).sha256 == load_bundle(undisturbed.run).sha256


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_at_20_random_moments_ends_with_the_same_bundle(
    colours: Path, recipe: Path, undisturbed: Command, tmp_path: Path
) -> None:
    rng = random.Random(20261122)
    kills = 0
    command = Command(colours, recipe, tmp_path / "run")
    began = time.monotonic()
    command.finish()
    length = time.monotonic() - began
    while kills < 20:
        for directory in (command.run, tmp_path / "run-cache"):
            shutil.rmtree(directory, ignore_errors=True)
        while kills < 20:
            moment = rng.uniform(0, length)
            if not command.kill_when(partial(operator.le, moment)):
                break  # it got to its end first
            kills += 1
        command.finish()
        assert load_bundle(command.run).sha256 == load_bundle(undisturbed.run).sha256


def _bytes_of(run: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}


def test_another_recipe_is_refused_with_the_difference(undisturbed: Command) -> None:
    before = _bytes_of(undisturbed.run)
    error = undisturbed.refused("--set", "stages.1.epochs=5")
    assert "stages.1.epochs: 4 then, 5 now" in error
    assert _bytes_of(undisturbed.run) == before


def test_other_images_are_refused_with_the_difference(
    colours: Path, recipe: Path, undisturbed: Command, tmp_path: Path
) -> None:
    data = tmp_path / "colours"
    shutil.copytree(colours, data)
    (data / "red" / "0.png").unlink()
    before = _bytes_of(undisturbed.run)
    error = Command(data, recipe, undisturbed.run).refused()
    assert "'red/0.png' is gone" in error
    assert _bytes_of(undisturbed.run) == before


def test_a_finished_run_is_not_done_again(undisturbed: Command) -> None:
    before = _bytes_of(undisturbed.run / "bundle")
    when = (undisturbed.run / "bundle" / "manifest.json").stat().st_mtime_ns
    assert "finished already" in undisturbed.finish()
    assert _bytes_of(undisturbed.run / "bundle") == before
    assert (undisturbed.run / "bundle" / "manifest.json").stat().st_mtime_ns == when
