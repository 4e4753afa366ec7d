"""A recipe file with variants trains each of them, and ends in one table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from holotype.bundle.bundle import load_bundle
from holotype.errors import InvalidRecipe, WeightsUnavailable
from holotype.pipeline.training_run.train_variants import list_variants
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.predictions import read_predictions
from tests.conftest import Cli

FILE = """
name: shapes
weights: none
image_size: 32
head: {hidden: [8]}
seed: 0
split: {ratios: [0.70, 0.15, 0.15], seed: 42}
stages:
  - {name: scratch, method: gradient_descent, trainable: all, batch_norm: train, epochs: 1,
     batch_size: 16, learning_rate: 0.001, head_learning_rate: 0.001}
variants:
  network: {model: cnn_baseline}
  descriptors:
    model: lbp
    head: null
    stages: [{method: svm, kernel: linear, Cs: [1], folds: 2}]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "shapes.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def changed(folder: Path, variants: str) -> Path:
    """The file with other variants, in flow style."""
    return write(folder, FILE.split("variants:")[0] + f"variants: {variants}\n")


def test_a_file_with_variants_trains_all_and_ends_in_a_table(
    synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    file, runs = write(tmp_path, FILE), tmp_path / "runs"
    code, out, error = cli("train", synthetic, "--recipe", file, "--output", runs, "--json")
    assert code == 0, error
    rows = json.loads(out)["variants"]
    assert [row["variant"] for row in rows] == ["network", "descriptors"]
    assert [row["model"] for row in rows] == ["cnn_baseline", "lbp"]
    # By hand: the backbone as the catalogue has it, 128 to 8 and 8 to 3 with biases.
    assert [row["parameters"] for row in rows] == [93_472 + 129 * 8 + 9 * 3, None]
    assert all(row["seconds"] > 0 for row in rows)
    for row in rows:
        run = runs / row["variant"]
        assert load_bundle(run).manifest.model == row["model"]
        validation = read_predictions(run / "predictions" / "val.parquet")
        right = validation.probabilities_NC.argmax(axis=1) == validation.targets_N
        assert row["accuracy"].startswith(f"{right.mean():.3f} [")
    assert json.loads((runs / "variants.json").read_text("utf-8")) == rows

    heading, rule, *lines = (runs / "variants.md").read_text("utf-8").splitlines()
    assert heading == "| variant | model | parameters | training time | validation accuracy |"
    assert rule == "|---|---|---|---|---|"
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| network", r"cnn\_baseline", "94,531"], ["| descriptors", "lbp", "–"],
    ]  # fmt: skip

    # Called again, nothing is trained, and what it took before still stands.
    code, out, error = cli(
        "train", synthetic, "--recipe", file, "--output", runs, "--resume", "--json"
    )
    assert code == 0, error
    assert "finished already" in error
    assert json.loads(out)["variants"] == rows


def test_one_variant_is_a_recipe_as_any_other(synthetic: Path, tmp_path: Path, cli: Cli) -> None:
    file = write(tmp_path, FILE)
    code, out, error = cli(
        "train", synthetic, "--recipe", f"{file}#descriptors", "--output", tmp_path / "run",
        "--json",
    )  # fmt: skip
    assert code == 0, error
    assert json.loads(out)["run"] == str(tmp_path / "run")
    assert load_bundle(tmp_path / "run").manifest.model == "lbp"


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("#netwrok", "no variant called 'netwrok'; did you mean 'network'? Known: network, desc"),
        ("#zzz", "no variant called 'zzz'. Known: network, descriptors."),
        ("", "shapes.yaml holds 2 recipes: network, descriptors. Name one: "),
    ],
)
def test_a_variant_that_is_not_there_is_refused_in_one_line(
    variant: str, reason: str, tmp_path: Path, cli: Cli
) -> None:
    file = write(tmp_path, FILE)
    code, _, error = cli("train", "--print-recipe", "--recipe", f"{file}{variant}")
    assert code == 2
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        ("[small, large]", "variants must be names with the keys that each changes"),
        ("{small: resnet18}", "variants must be names with the keys that each changes"),
        ("null", "variants must be names with the keys that each changes"),
        ("{../../elsewhere: {}}", "a variant names a directory, and '../../elsewhere' is no such"),
        ("{.hidden: {}}", "a variant names a directory"),
    ],
)
def test_variants_that_make_no_sense_are_refused_in_one_line(
    variants: str, reason: str, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    file = changed(tmp_path, variants)
    code, _, error = cli("train", synthetic, "--recipe", file, "--output", tmp_path / "runs")
    assert code == 2
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("{modle: lbp}", "unknown key 'modle'; did you mean 'model'"),
        ("{stages.7.epochs: 2}", "shapes.yaml#small: stages.7.epochs: expected a number from 0 to"),
        ("{stages.0.epochs: many}", "stages.0.epochs"),
    ],
)
def test_a_key_of_a_variant_that_makes_no_sense_is_refused_in_one_line(
    keys: str, reason: str, tmp_path: Path, cli: Cli
) -> None:
    file = changed(tmp_path, f"{{small: {keys}}}")
    code, _, error = cli("train", "--print-recipe", "--recipe", f"{file}#small")
    assert code == 2
    assert reason in error
    assert error.count("\n") == 1


def test_a_variant_may_be_called_a_number(tmp_path: Path) -> None:
    file = changed(tmp_path, "{18: {model: cnn_v1}}")
    assert list_variants(TrainingRequest(data=(), recipe=file)) == {"18": f"{file}#18"}
    from holotype.training.config.resolve import resolve_recipe

    assert resolve_recipe(f"{file}#18").model == "cnn_v1"


def test_all_variants_are_looked_at_before_the_first_one_trains(tmp_path: Path) -> None:
    file = changed(
        tmp_path, "{first: {model: cnn_v1}, last: {model: resnet50, weights: pretrained}}"
    )
    request = TrainingRequest(data=(), recipe=file, overrides={"weights": "none"})
    with pytest.raises(WeightsUnavailable, match="resnet50"):
        list_variants(TrainingRequest(data=(), recipe=file))
    assert [*list_variants(request)] == ["first", "last"]
    with pytest.raises(InvalidRecipe, match="trainable is 0"):
        list_variants(replace(request, overrides={"weights": "none", "stages.0.trainable": 0}))


def test_a_recipe_without_variants_has_none(tmp_path: Path) -> None:
    for recipe in ("finetune", None, write(tmp_path, FILE.split("variants:")[0])):
        assert list_variants(TrainingRequest(data=(), recipe=recipe)) == {}
