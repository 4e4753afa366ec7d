"""`train --dry-run` says what training would take, and leaves no run behind."""

import json
from pathlib import Path

import pytest

from holotype import road
from tests.conftest import Cli
from tests.road.conftest import SMALL
from tests.road.test_series import FILE, write


def test_a_dry_run_times_every_stage_and_writes_no_run(
    synthetic: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_CACHE", str(tmp_path / "cache"))
    words = ("--image-size", 64, "--set", "stages.1.views=2", "--set", "stages.1.trainable=2")
    run = tmp_path / "run"
    code, out, _ = cli("train", synthetic, *words, "--recipe", "finetune", "--output", run,
                       "--dry-run", "--json")  # fmt: skip
    assert code == 0
    assert not run.exists()
    found = json.loads(out)
    frozen_head, frozen, epochs = found["stages"]
    pictures = found["parts"]["train"] + found["parts"]["val"]
    assert frozen_head["work"].startswith(f"{pictures} views")
    assert frozen_head["disk_bytes"] == pictures * 1280 * 4  # float32 embeddings
    assert frozen["work"].startswith(f"{found['parts']['train'] + pictures} views")
    assert epochs["work"].startswith("12 epochs of")
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    assert found["seconds"] == pytest.approx(sum(stage["seconds"] for stage in found["stages"]))
    assert found["memory_mb"] > 50


def test_what_is_kept_already_costs_nothing_and_folds_are_counted(
    finetuned: road.TrainedRun, synthetic: Path
) -> None:
    found = road.train(synthetic, dry_run=True, folds=3, recipe="finetune", **SMALL)
    assert found.num_runs == 3
    assert found.costs[0].disk_bytes == 0  # the same pictures were embedded by that run
    assert found.seconds == pytest.approx(3 * sum(cost.seconds for cost in found.costs))


def test_a_file_of_variants_is_refused_with_a_name(
    synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, err = cli("train", synthetic, "--recipe", write(tmp_path, FILE), "--dry-run")
    assert code == 2
    assert "shapes.yaml#network" in err
