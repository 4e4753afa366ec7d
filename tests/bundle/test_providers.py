"""What runs the graphs of a bundle can be chosen where ONNX Runtime has it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import holotype
from holotype.bundle.onnx_runtime import PROVIDERS
from holotype.errors import UsageError
from tests.bundle.tiny import write_images, write_tiny


def test_the_cpu_is_what_runs_unless_another_is_named(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    files = write_images(tmp_path / "images", 3)
    plain = holotype.load(tmp_path / "bundle").predict_proba(files)
    named = holotype.load(tmp_path / "bundle", providers=["cpu"]).predict_proba(files)
    assert np.array_equal(plain, named)


def test_what_is_not_installed_or_not_known_is_refused_with_what_there_is(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    with pytest.raises(UsageError, match="which has cpu"):
        holotype.load(tmp_path / "bundle", providers=["tensorrt", "cpu"])
    with pytest.raises(UsageError, match="tensorrt"):
        holotype.load(tmp_path / "bundle", providers=["tensorflow"])


@pytest.mark.parametrize("name", sorted(set(PROVIDERS) - {"cpu"}))
def test_a_provider_that_is_there_is_asked_first_and_the_cpu_after_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path / "bundle")
    asked: list[list[str]] = []
    session = onnxruntime.InferenceSession

    def recorded(graph: bytes, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return session(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", recorded)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*PROVIDERS.values()])
    found = holotype.load(tmp_path / "bundle", providers=[name])
    assert found.bundle.backbone is not None
    assert asked == [[PROVIDERS[name], "CPUExecutionProvider"]]
