"""What pip installs: every extra resolves to the constrained versions, and the base alone predicts.

These tests need a package index; `.ci/run` runs them, `make test` does not.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from holotype.cli.app import run
from tests.bundle.tiny import write_images, write_tiny

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = sorted(
    tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
)
MAX_BASE_BYTES = 300 * 10**6

# What torch pins by itself for one platform.
PLATFORM = re.compile(r"nvidia-|cuda-|triton")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of a new environment with Holotype and its base dependencies only.

    Installed from wheels alone, as where there is no network.
    """
    environment, wheels = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "-c", CONSTRAINTS, ROOT, "-w", wheels], check=True)
    offline = ["--no-index", "--find-links", wheels]
    subprocess.run([*pip, "install", "-q", *offline, "holotype"], check=True)
    return environment / "bin"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "bundle"
    write_tiny(directory)
    return directory


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 6)
    return folder


def run_outside(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the new environment, which must not find the sources of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def answer(*command: str | Path) -> Any:
    done = run_outside(*command)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def resolve(extra: str, *options: str | Path) -> dict[str, str]:
    """Package -> version, as uv resolves the base and one extra; `extra` may be empty."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"]
    command += ["--no-header", "--no-annotate", *map(str, options)]
    if extra:
        command += ["--extra", extra]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pairs = (line.split("==") for line in done.stdout.splitlines() if "==" in line)
    return {canonicalize_name(name): version.split()[0] for name, version in pairs}


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_every_extra_resolves_to_the_versions_of_the_constraints(extra: str) -> None:
    lines = CONSTRAINTS.read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    resolved = resolve(extra, "-c", CONSTRAINTS)
    ours = {name: version for name, version in resolved.items() if not PLATFORM.match(name)}
    assert {name: pinned.get(name) for name in ours} == ours


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_every_extra_resolves_at_its_floors(extra: str) -> None:
    floors = resolve(extra, "--resolution", "lowest-direct")
    assert floors["numpy"] == "2.0.0"


def test_the_base_takes_at_most_300_megabytes(base: Path) -> None:
    (packages,) = base.parent.glob("lib/python*/site-packages")
    sizes = {
        package.name: sum(
            file.lstat().st_size for file in [package, *package.rglob("*")] if file.is_file()
        )
        for package in packages.iterdir()
        if package.name not in {"pip", "setuptools"}  # they come with `python -m venv`
    }
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) <= MAX_BASE_BYTES, largest


def test_the_base_predicts_what_the_full_environment_predicts(
    base: Path, bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(bundle), str(images), "--json"]
    assert run(command) == 0
    expected = json.loads(capsys.readouterr().out)
    assert answer(base / "holotype", *command) == expected


def test_the_base_opens_a_classifier_in_python(base: Path, bundle: Path, images: Path) -> None:
    script = (
        "import holotype, json, sys;"
        "found = holotype.load(sys.argv[1]).predict([sys.argv[2]]);"
        "print(json.dumps(len(found)))"
    )
    assert answer(base / "python", "-c", script, bundle, images) == 6


def test_the_base_explains_without_gradients(
    base: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    image = next(images.iterdir())
    output = tmp_path / "why.png"
    command = ["explain", bundle, image, "--method", "occlusion", "--output", output]
    done = run_outside(base / "holotype", *command)
    assert done.returncode == 0, done.stderr
    assert output.is_file()


def test_the_base_names_the_extra_that_training_needs(base: Path, images: Path) -> None:
    done = run_outside(base / "holotype", "train", images)
    assert done.returncode == 1
    assert "pip install 'holotype[train]'" in done.stderr
    assert "Traceback" not in done.stderr
