"""`holotype models`: the catalogue, and where weights would come from now."""

import json
from pathlib import Path

import pytest

from holotype.cli.app import run
from holotype.models.catalog import CATALOG


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == list(CATALOG)


def test_json_tells_where_weights_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "resnet18.safetensors").touch()
    monkeypatch.setenv("HOLOTYPE_WEIGHTS", str(tmp_path))
    assert run(["models", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    weights = {row["name"]: row["weights"] for row in answer["models"]}
    assert answer["default"] in weights
    assert weights["resnet18"] == "folder"
    assert weights["efficientnet_lite0"] == "installed"
