"""What a GPU says of itself, where there is none to ask: stand-ins for its two sources."""

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from holotype.training.features.device import temperature, utilisation


class NVMLError(Exception):
    """As pynvml's."""


@pytest.fixture
def pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pynvml")
    module.__spec__ = importlib.machinery.ModuleSpec("pynvml", None)
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_a_cpu_has_no_temperature_and_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *words, **options: pytest.fail("asked"))
    assert temperature("cpu") is None
    assert utilisation("cpu") is None


@pytest.mark.usefixtures("pynvml")
def test_a_temperature_is_read_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.temperature", lambda number: 60 + (number or 0))
    assert temperature("cuda") == 60.0
    assert temperature("cuda", 3) == 63.0


@pytest.mark.usefixtures("pynvml")
def test_a_gpu_that_does_not_tell_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a slice of a GPU (MIG)."""

    def not_supported(number: int | None = None) -> int:
        raise NVMLError("Not Supported")

    monkeypatch.setattr("torch.cuda.temperature", not_supported)
    monkeypatch.setattr("torch.cuda.utilization", not_supported)
    assert temperature("cuda") is None
    assert utilisation("cuda") is None


@pytest.mark.parametrize(("answer", "expected"), [("47", 47.0), ("[N/A]", None), ("", None)])
def test_without_pynvml_nvidia_smi_is_asked(
    answer: str, expected: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    command = tmp_path / "nvidia-smi"
    command.write_text(f'#!/bin/sh\necho "$@" > {asked}\necho "{answer}"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda number: SimpleNamespace(uuid="ab-12")
    )
    assert temperature("cuda") == expected
    assert "--id=GPU-ab-12 --query-gpu=temperature.gpu" in asked.read_text()
