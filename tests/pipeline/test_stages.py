"""A run of several stages leaves the best of each, and each is a run."""

import csv
from pathlib import Path

import pytest
import yaml

from holotype import pipeline
from holotype.bundle.bundle import load_bundle
from holotype.errors import NotARun
from holotype.pipeline import TrainedRun
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from tests.conftest import Cli


def test_every_stage_leaves_its_best_with_its_own_curves(finetuned: TrainedRun) -> None:
    whole = load_bundle(finetuned.run.path)
    for name, epochs in (("head", 0), ("finetune", 3)):
        stage = finetuned.run.stage(name)
        bundle = load_bundle(f"{finetuned.run.path}@{name}")
        decision = bundle.manifest.decision
        validation = read_predictions(stage.predictions / "val.parquet")
        assert decision is not None
        assert decision.predictions_sha256 == validation.digest()
        with stage.history.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == epochs
        assert {row["stage"] for row in rows} <= {name}
        assert all(int(row["num_trainable_parameters"]) > 1000 for row in rows)
    assert load_bundle(f"{finetuned.run.path}@finetune").sha256 == whole.sha256


def test_a_stage_is_accepted_where_a_run_is(
    finetuned: TrainedRun, synthetic: Path, cli: Cli
) -> None:
    image = next(synthetic.rglob("*.png"))
    code, out, _ = cli("predict", f"{finetuned.run.path}@head", image)
    assert code == 0
    assert image.name in out
    assert RunDirectory.open(f"{finetuned.run.path}@head").index.is_file()


def test_a_stage_that_is_not_there_is_refused_with_the_nearest(
    finetuned: TrainedRun, synthetic: Path, cli: Cli
) -> None:
    code, _, err = cli("predict", f"{finetuned.run.path}@finetun", next(synthetic.rglob("*.png")))
    assert code == 1
    assert "did you mean 'finetune'" in err
    with pytest.raises(NotARun, match="Its stages: finetune, head"):
        RunDirectory.open(f"{finetuned.run.path}@other")


def test_a_stage_could_have_been_trained_on_its_own(
    finetuned: TrainedRun, synthetic: Path, tmp_path: Path
) -> None:
    head = finetuned.run.stage("head")
    assert len(yaml.safe_load(head.recipe.read_text())["stages"]) == 1
    alone = pipeline.train(synthetic, output=tmp_path / "alone", recipe=head.recipe)
    assert load_bundle(alone.run.path).sha256 == load_bundle(head.path).sha256
    assert not alone.run.stages.exists()
    with pytest.raises(NotARun, match="It trained in one stage"):
        RunDirectory.open(f"{alone.run.path}@head")
