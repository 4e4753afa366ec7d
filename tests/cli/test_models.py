"""`holotype models`: the catalogue, one network of it, and where weights would come from now."""

import json
from pathlib import Path
from typing import Any

import pytest

from holotype.architectures.catalog import CATALOG
from holotype.cli.app import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_net.py"


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
    rows = {row["name"]: row for row in answer["models"]}
    assert answer["default"] in rows
    for name, weights, now in (
        ("resnet18", "folder", True),
        ("efficientnet_lite0", "installed", True),
        ("resnet50", "hub", False),  # the tests are offline
        ("googlenet", "download", False),
        ("cnn_v1", "not needed", True),
        ("hog", "not needed", True),
    ):
        assert (rows[name]["weights"], rows[name]["weights_available"]) == (weights, now)


def test_a_server_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def reachable(row: Any) -> bool:
        asked.append(row.name)
        return True

    monkeypatch.setattr(
        "holotype.pipeline.model_catalog.server_is_reachable",
        reachable,
    )
    assert run(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert all(row["weights_available"] for row in rows)
    assert asked == ["efficientnet_b0", "googlenet"]  # one of the hub, one of torchvision


def test_numbers_are_told_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["models"]:
        if row["kind"] != "classical":
            assert row["parameters"] > 50_000
            assert row["parameters_with_head"] > row["parameters"]
            assert row["training_gigabytes"] > 0
        assert row["multiply_adds_millions"] >= 0
        assert row["image_size"] >= row["minimum_size"]
        assert row["licence"]


def test_one_network_is_shown_with_its_groups_and_layers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "resnet18", "--groups", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    groups = facts["groups"]
    assert [group["name"] for group in groups] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert sum(group["parameters"] for group in groups) == facts["parameters"]
    layers = [layer for group in groups for layer in group["layers"]]
    assert sum(layer["parameters"] for layer in layers) == facts["parameters"]
    assert run(["models", "resnet18", "--groups"]) == 0
    shown = capsys.readouterr().out
    assert "layer4.1.conv2  Conv2d  2,359,296" in shown
    assert "11,176,512" in shown


def test_a_network_of_ones_own_is_built_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", f"{EXAMPLE}:build", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "my_net.py:build"
    assert facts["parameters"] == 3 * 16 * 9 + 16 * 32 * 9 + 32 * 64 * 9 + 2 * (16 + 32 + 64)
    assert facts["embedding_size"] == 64


def test_descriptors_have_no_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "hog", "--groups"]) == 0
    assert "neither groups nor layers" in capsys.readouterr().err


def test_groups_of_all_at_once_and_unknown_names_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "--groups"]) == 2
    assert "holotype models NAME --groups" in capsys.readouterr().err
    assert run(["models", "resnet5O"]) == 2
    assert "did you mean 'resnet50'" in capsys.readouterr().err
