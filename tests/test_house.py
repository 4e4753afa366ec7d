"""The house holds: who may import whom, how large a file may be, what stays unimported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import holotype

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "holotype").rglob("*.py"))

HEAVY = ("torch", "torchvision", "timm", "pandas", "sklearn", "skimage", "scipy", "matplotlib")


def test_rooms_import_only_from_rooms_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True, verbose=False)
    assert status == EXIT_STATUS_SUCCESS


def test_no_file_is_two_ideas_long() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in SOURCES
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "core", "base", "manager", "misc"}
    assert [str(file) for file in SOURCES if {file.stem, file.parent.name} & vague] == []


@pytest.mark.parametrize(
    "module", ["holotype", "holotype.cli.app", "holotype.cli.predict", "holotype.bundle.bundle"]
)
def test_importing_leaves_heavy_libraries_out(module: str) -> None:
    script = (
        f"import {module}, json, sys; print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("name", holotype.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert name in dir(holotype)
    assert getattr(holotype, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = holotype.trian


def test_the_version_is_the_one_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{holotype.__version__}"\n' in project
