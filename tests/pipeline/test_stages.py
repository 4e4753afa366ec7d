"""A run of several stages leaves the best of each, and each is a run."""

import csv
from pathlib import Path

import pytest
import yaml

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.errors import NotARun
from holotype.pipeline.run import Run
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from tests.conftest import Cli


def test_every_stage_leaves_its_best_with_its_own_curves(finetuned: Run) -> None:
    whole = load_bundle(finetuned.path)
    for name, epochs in (("head", 0), ("finetune", 3)):
        stage = finetuned.files.stage(name)
        bundle = load_bundle(f"{finetuned.path}@{name}")
        decision = bundle.manifest.decision
        validation = read_predictions(stage.predictions / "val.parquet")
        assert decision is not None
        assert decision.predictions_sha256 == validation.digest()
        with stage.history.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == epochs
        assert {row["stage"] for row in rows} <= {name}
        assert all(int(row["num_trainable_parameters"]) > 1000 for row in rows)
    assert load_bundle(f"{finetuned.path}@finetune").sha256 == whole.sha256


def test_a_stage_is_accepted_where_a_run_is(finetuned: Run, synthetic: Path, cli: Cli) -> None:
    image = next(synthetic.rglob("*.png"))
    code, out, _ = cli("predict", f"{finetuned.path}@head", image)
    assert code == 0
    assert image.name in out
    assert RunDirectory.open(f"{finetuned.path}@head").index.is_file()


def test_a_stage_that_is_not_there_is_refused_with_the_nearest(
    finetuned: Run, synthetic: Path, cli: Cli
) -> None:
    code, _, err = cli("predict", f"{finetuned.path}@finetun", next(synthetic.rglob("*.png")))
    assert code == 1
    assert "did you mean 'finetune'" in err
    with pytest.raises(NotARun, match="Its stages: finetune, head"):
        RunDirectory.open(f"{finetuned.path}@other")


def test_a_stage_could_have_been_trained_on_its_own(
    finetuned: Run, synthetic: Path, tmp_path: Path
) -> None:
    head = finetuned.files.stage("head")
    assert len(yaml.safe_load(head.recipe.read_text())["stages"]) == 1
    alone = holotype.train(synthetic, output=tmp_path / "alone", recipe=head.recipe)
    assert load_bundle(alone.path).sha256 == load_bundle(head.path).sha256
    assert not alone.files.stages.exists()
    with pytest.raises(NotARun, match="It trained in one stage"):
        RunDirectory.open(f"{alone.path}@head")
