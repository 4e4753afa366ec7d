"""Sets of classes, and "unknown": sealed at the end of training, and kept by `predict`."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import read_index_file
from holotype.errors import InvalidRatios, InvalidRecipe, RunMismatch
from holotype.evaluation.intervals import SamplingUnits
from holotype.evaluation.ood_selection import fit_ood_threshold
from holotype.pipeline.run import Run
from holotype.pipeline.training_run import train_and_seal
from holotype.pipeline.training_run.resume import require_same_inputs
from holotype.pipeline.training_run.train_and_seal import require_validation
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import resolve_recipe
from tests.conftest import Cli
from tests.dataset.indices import make_index

HOG: dict[str, Any] = {"model": "hog", "recipe": "linear", "image_size": 64}
FOLDS = {"stages.0.folds": "2"}
RATIOS = "[0.4, 0.3, 0.15, 0.15]"


@pytest.fixture(scope="module")
def promising(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a part held back, references, and a word for unknown images."""
    return holotype.train(
        synthetic, output=tmp_path_factory.mktemp("runs") / "shapes-1", **HOG,
        overrides={**FOLDS, "split.ratios": RATIOS, "references": "true", "unknown": "0.2"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folded(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("runs") / "folded-1"
    return holotype.train(synthetic, output=output, **HOG, overrides=FOLDS, folds=2)


def answer_of(cli: Cli, *words: object, code: int = 0) -> dict[str, Any]:
    got, out, err = cli("predict", *words, "--json")
    assert got == code, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_the_part_that_is_held_back_is_read_for_the_sets_alone(promising: Run) -> None:
    bundle = load_bundle(promising.path)
    index = read_index_file(promising.files.index)
    assert bundle.manifest.decision is not None
    calibration_set = bundle.manifest.decision.calibration_set
    assert calibration_set is not None
    assert bundle.conformal_scores is not None
    assert (
        calibration_set.num_images == len(bundle.conformal_scores) == len(index.part("cal")) == 18
    )
    calibration = predict_index(bundle, index.part("cal"))
    assert calibration_set.predictions_sha256 == calibration.digest()
    true_N = calibration.probabilities_NC[np.arange(18), calibration.targets_N]
    np.testing.assert_allclose(
        np.sort(bundle.conformal_scores.lac_N), np.sort(1 - true_N), atol=1e-12
    )
    # The temperature is validation's, the score is test's, the references are training's.
    validation = predict_index(bundle, index.part("val"))
    assert bundle.manifest.decision.predictions_sha256 == validation.digest()
    paths = set(index.part("cal").table["path"])
    assert paths.isdisjoint(read_predictions(promising.files.predictions / "test.parquet").ids)
    assert bundle.references is not None
    assert set(bundle.references.names) == set(index.part("train").table["path"])


def test_sets_are_those_of_the_definition_in_table_csv_and_json(
    promising: Run, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    bundle = load_bundle(promising.path)
    assert bundle.conformal_scores is not None
    answer = answer_of(cli, promising.path, synthetic, "--coverage", 0.8)
    limit = np.sort(bundle.conformal_scores.lac_N)[int(np.ceil(19 * 0.8)) - 1]
    for row in answer["predictions"]:
        chosen = {name for name, p in row["probabilities"].items() if 1 - p <= limit}
        assert set(row["set"]) == chosen | {row["class"]}
    assert answer["sets"] == {
        "coverage": 0.8, "method": "lac", "per_class": False, "calibration_images": 18,
    }  # fmt: skip
    file = tmp_path / "answers.csv"
    code, out, _ = cli("predict", promising.path, synthetic, "--coverage", 0.8, "--output", file)
    assert code == 0
    assert out.splitlines()[0].split() == ["file", "class", "probability", "known", "set"]
    with file.open(newline="", encoding="utf-8") as opened:
        read = [json.loads(row["set"]) for row in csv.DictReader(opened)]
    assert read == [row["set"] for row in answer["predictions"]]


def test_a_run_without_a_part_held_back_says_how_to_get_sets(
    finetuned: Run, synthetic: Path, cli: Cli
) -> None:
    code, out, err = cli("predict", finetuned.path, synthetic, "--coverage", 0.9)
    assert (code, out) == (1, "")
    assert "--ratios 0.6 0.15 0.15 0.1" in err
    assert err.count("error: ") == 1


def test_what_is_not_asked_for_leaves_the_bundle_as_it_always_was(finetuned: Run) -> None:
    assert sorted(path.name for path in finetuned.files.bundle.iterdir()) == [
        "backbone.onnx", "head.onnx", "manifest.json", "manifest.sha256",
    ]  # fmt: skip
    decision = json.loads((finetuned.files.bundle / "manifest.json").read_text())["decision"]
    assert set(decision) == {
        "temperature",
        "predictions_sha256",
        "num_images",
        "views",
        "unknown_threshold",
        "conformal",
    }
    assert decision["conformal"] is decision["unknown_threshold"] is None


def test_too_few_images_give_sets_of_everything_and_it_is_said(
    promising: Run, synthetic: Path, cli: Cli
) -> None:
    file = next(synthetic.rglob("*.png"))
    code, out, err = cli("predict", promising.path, file, "--coverage", 0.95, "--json")
    assert code == 0
    assert len(json.loads(out)["predictions"][0]["set"]) == 3
    assert (
        "every one holds all classes; there are 18 calibration images, and this coverage needs 19"
        in err
    )
    code, _, err = cli("predict", promising.path, file, "--coverage", 0.9, "--per-class")
    assert code == 0
    assert "3 of 3 classes have fewer than 9 calibration images" in err


@pytest.mark.parametrize("coverage", ["0.5", "1", "95", "nan"])
def test_a_coverage_that_makes_no_sense_is_refused(
    promising: Run, synthetic: Path, cli: Cli, coverage: str
) -> None:
    code, _, err = cli("predict", promising.path, synthetic, "--coverage", coverage)
    assert code == 2
    assert "between 0.5 and 1" in err
    code, _, err = cli("predict", promising.path, synthetic, "--sets", "raps")
    assert code == 2
    assert "need --coverage" in err


def test_no_more_known_images_are_unknown_than_was_promised_on_validation(
    promising: Run, cli: Cli
) -> None:
    index = read_index_file(promising.files.index)
    files = [index.file(path) for path in index.part("val").table["path"]]
    answer = answer_of(cli, promising.path, *files)
    unknown = [row["unknown"] for row in answer["predictions"]]
    assert np.mean(unknown) <= 0.2  # 36 images: a tenth or so, since it holds with confidence
    assert any(unknown)
    assert all(row["class"] for row in answer["predictions"])


def test_an_image_like_none_of_training_is_unknown(
    promising: Run, tmp_path: Path, cli: Cli
) -> None:
    stripes_HW = np.zeros((64, 64), np.uint8)
    stripes_HW[::8] = 255
    Image.fromarray(stripes_HW).save(tmp_path / "stripes.png")
    (row,) = answer_of(cli, promising.path, tmp_path / "stripes.png")["predictions"]
    assert row["unknown"] is True
    code, out, _ = cli("predict", promising.path, tmp_path / "stripes.png")
    assert code == 0
    assert out.splitlines()[-1].split()[-1] == "unknown"


def test_the_report_says_what_the_sets_are_worth_and_how_unknown_was_chosen(
    promising: Run,
) -> None:
    page = (promising.files.report / "index.html").read_text(encoding="utf-8")
    assert "<h2>Prediction sets</h2>" in page
    assert "calibrated on 18 images that were used for nothing else" in page
    assert "the calibration set is too small for the target coverage" in page  # 95 % takes 19
    assert "Unknown images are detected by the" in page
    assert "Mean ROC AUC over 3 held-out classes or blocks" in page


def test_folds_calibrate_sets_on_what_was_said_out_of_fold(
    folded: Run, synthetic: Path, cli: Cli
) -> None:
    bundle = load_bundle(folded.path)
    oof = read_predictions(folded.files.predictions / "oof.parquet")
    assert bundle.manifest.decision is not None
    assert bundle.manifest.decision.calibration_set is not None
    assert bundle.manifest.decision.calibration_set.source == "out_of_fold"
    assert bundle.manifest.decision.calibration_set.predictions_sha256 == oof.digest()
    answer = answer_of(cli, folded.path, synthetic, "--coverage", 0.9, "--sets", "raps")
    truth = [Path(row["file"]).parent.name for row in answer["predictions"]]
    held = [name in row["set"] for name, row in zip(truth, answer["predictions"], strict=True)]
    assert np.mean(held) > 0.85  # most members learnt these images, so it should be more
    assert all(row["unknown"] is None for row in answer["predictions"])


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"split.ratios": "[0.6, 0.15, 0.15, 0.1]"}, InvalidRatios, "give three ratios"),
        ({"unknown": "0.2"}, InvalidRecipe, "unknown is sealed for one classifier"),
    ],
)
def test_folds_refuse_what_they_cannot_promise(
    synthetic: Path,
    tmp_path: Path,
    overrides: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        holotype.train(synthetic, output=tmp_path / "r", **HOG, overrides=overrides, folds=2)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            {"unknown": "0.01"},
            InvalidRecipe,
            "at least 299 independent .* images, and there are 18",
        ),
        ({"split.ratios": "[0.7, 0, 0.2, 0.1]"}, InvalidRatios, "validation has none"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused_before_training(
    synthetic: Path,
    tmp_path: Path,
    overrides: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        holotype.train(synthetic, output=tmp_path / "r", **HOG, overrides=overrides)
    assert not (tmp_path / "r" / "bundle").exists()


def test_few_groups_are_too_few_for_a_promise_about_unknown_images(
    synthetic: Path, tmp_path: Path
) -> None:
    """120 images of 12 specimens: those of validation alone would be enough for 20 %."""
    data = tmp_path / "shapes"
    table = data / "table.csv"
    shutil.copytree(synthetic, data)
    rows = [
        f"{file.relative_to(data).as_posix()},{file.parent.name},{file.parent.name}-{number // 10}"
        for folder in sorted(path for path in data.iterdir() if path.is_dir())
        for number, file in enumerate(sorted(folder.iterdir()))
    ]
    table.write_text("\n".join(["path,label,group", *rows]))
    with pytest.raises(InvalidRecipe, match=r"at least 14 .* are 30 in 3 groups, which count as 1"):
        holotype.train(
            table, output=tmp_path / "r", **HOG,
            overrides={"unknown": "0.2", "split.ratios": "[0.5, 0.25, 0.25]"},
        )  # fmt: skip


def test_a_finished_run_is_not_refused_for_what_is_asked_of_new_ones(
    promising: Run, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = promising.report.path.stat().st_mtime_ns
    monkeypatch.setattr(train_and_seal, "min_images_for_threshold", lambda rate: 1e6)
    again = holotype.train(
        synthetic, output=promising.path, **HOG, resuming=holotype.Resuming(resume=True),
        overrides={**FOLDS, "split.ratios": RATIOS, "references": "true", "unknown": "0.2"},
    )  # fmt: skip
    assert again.report.path.stat().st_mtime_ns == before


@pytest.mark.parametrize(("groups", "of_each", "is_enough"), [(41, 3, True), (40, 3, False)])
def test_groups_are_refused_before_training_only_where_no_threshold_can_be_found(
    groups: int, of_each: int, is_enough: bool
) -> None:
    """Images in 41 groups count as 58.7, where 58.4 are needed: 59 single ones."""
    names = [f"g{number // of_each:02d}" for number in range(groups * of_each)]
    index = make_index(["a"] * len(names), names, ["val"] * len(names))
    recipe = resolve_recipe("linear", model="hog", overrides={"unknown": 0.05})
    units, scores = SamplingUnits.of_groups(names), np.arange(float(len(names)))
    assert (fit_ood_threshold(scores, 0.05, units) is not None) == is_enough
    if is_enough:
        require_validation(recipe, index)
        return
    with pytest.raises(InvalidRecipe, match=r"at least 59 .* 120 in 40 groups, which count as 57"):
        require_validation(recipe, index)


def test_with_two_classes_unknown_images_are_told_by_their_neighbours(
    synthetic: Path, tmp_path: Path
) -> None:
    for name in ("disc", "square"):
        shutil.copytree(synthetic / name, tmp_path / "two" / name)
    overrides = {**FOLDS, "unknown": "0.3", "split.ratios": "[0.6, 0.3, 0.1]"}
    run = holotype.train(tmp_path / "two", output=tmp_path / "r", **HOG, overrides=overrides)
    bundle = load_bundle(run.path)
    assert bundle.manifest.decision is not None
    assert bundle.manifest.decision.unknown is not None
    assert bundle.manifest.decision.unknown.score == "neighbours"
    assert bundle.references is not None  # kept though nobody asked, since the score needs them
    page = run.report.path.read_text(encoding="utf-8")
    assert "with two classes" in page
    assert "The bundle keeps the embeddings and names of the training images" in page


def test_a_run_that_is_older_than_a_key_of_the_recipe_goes_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    recipe = resolve_recipe("linear", model="hog")
    began = yaml.safe_load(recipe.to_yaml())
    del began["references"], began["unknown"]
    run.path.mkdir()
    run.write_recipe(yaml.safe_dump(began))
    index = make_index(["a", "b"])
    require_same_inputs(run, recipe, index)
    with pytest.raises(RunMismatch, match=r"unknown: None then, 0\.05 now"):
        require_same_inputs(run, recipe.model_copy(update={"unknown": 0.05}), index)
