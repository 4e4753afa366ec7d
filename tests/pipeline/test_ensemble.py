"""Runs become one run: the mean that was promised, sealed on validation, judged once on test."""

import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.dataset.splitting.splitter import folds, split
from holotype.ensembles.ensemble_recipe import read_ensemble_recipe
from holotype.errors import BundleError, CorruptBundle, NotComparable, RunExists
from holotype.files import TEMPORARY_PREFIX
from holotype.pipeline.ensemble import ensemble
from holotype.pipeline.ensemble_report import read_ensemble
from holotype.pipeline.run import Run
from holotype.predictions import read_predictions, softmax
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import predicted
from tests.conftest import Cli
from tests.ensembles.runs import make_folded, make_run, write_scores_only


@pytest.fixture(scope="session")
def members(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A machine on descriptors, and two networks of random numbers and of other sizes."""
    folder = tmp_path_factory.mktemp("members")
    machine = holotype.train(
        synthetic, output=folder / "hog", model="hog", recipe="svm", ratios=(0.5, 0.25, 0.25)
    )
    index = read_index_file(machine.files.index)
    sizes = {"small": 32, "large": 48}
    runs = [
        make_run(folder / name, index, side=side, seed=side, learns=False)
        for name, side in sizes.items()
    ]
    return [machine.path, *(run.path for run in runs)]


@pytest.fixture(scope="session")
def assembled(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("ensembles") / "three"
    return ensemble(members, output=output, method="adaptive")


@pytest.fixture(scope="session")
def index(members: list[Path]) -> Index:
    return read_index_file(RunDirectory(members[0]).index)


def test_it_answers_as_the_weighted_mean_of_its_members(
    assembled: Run, members: list[Path], index: Index
) -> None:
    files = [index.file(path) for path in index.part("test").table["path"]]
    whole = load_bundle(assembled.path)
    recipe = read_ensemble_recipe(assembled.files.recipe)
    assert recipe is not None
    sums_NC, plain_NC = np.zeros((2, len(files), len(index.classes)))
    for path, member in zip(members, recipe.members, strict=True):
        alone = load_bundle(path)
        assert (str(path), alone.sha256) == (member.run, member.bundle)
        weights_C = [member.weights[name] for name in index.classes]
        sums_NC += predicted(alone, files).probabilities_NC * weights_C
        plain_NC += predicted(alone, files).probabilities_NC / 3
    mean_NC = sums_NC / sums_NC.sum(axis=1, keepdims=True)
    expected_NC = softmax(np.log(mean_NC), whole.temperature)
    found_NC = predicted(whole, files).probabilities_NC
    np.testing.assert_allclose(found_NC, expected_NC, rtol=0, atol=1e-6)
    assert len({member.bundle for member in recipe.members}) == 3
    unlike = np.abs(found_NC - softmax(np.log(plain_NC), whole.temperature)).max()
    assert unlike > 1e-5, "the weights are not equal, and it shows"


def test_what_test_holds_is_what_the_bundle_says(assembled: Run, index: Index) -> None:
    test = read_predictions(assembled.files.predictions / "test.parquet")
    files = [index.file(path) for path in test.ids]
    again = predicted(load_bundle(assembled.path), files)
    np.testing.assert_allclose(test.probabilities_NC, again.probabilities_NC, atol=1e-6)
    assert set(test.ids) == set(index.part("test").table["path"])
    assert assembled.report.part == "test"
    assert assembled.metrics["accuracy"].value == pytest.approx(
        (test.predicted_N == test.targets_N).mean()
    )


def test_its_decision_was_fitted_on_validation_after_the_weights(assembled: Run) -> None:
    decision = load_bundle(assembled.path).manifest.decision
    validation = read_predictions(assembled.files.predictions / "val.parquet")
    assert decision is not None
    assert decision.predictions_sha256 == validation.digest()
    np.testing.assert_allclose(
        validation.probabilities_NC,
        softmax(validation.logits_NC, decision.temperature),
        atol=1e-7,
    )


def test_labels_of_the_test_part_decide_nothing(
    members: list[Path], assembled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [Path(shutil.copytree(path, tmp_path / path.name)) for path in members]
    for path in runs:
        index = read_index_file(RunDirectory(path).index)
        table = index.table.copy()
        tested = table["split"] == "test"
        table.loc[tested, "label"] = list(table.loc[tested, "label"])[::-1]
        Index(index.root, table, index.classes).write(RunDirectory(path).index)
    monkeypatch.setattr("holotype.pipeline.ensemble_report._write_report", write_scores_only)
    other = ensemble(runs, output=tmp_path / "other", method="adaptive")
    assert load_bundle(other.path).sha256 == load_bundle(assembled.path).sha256
    _, comparison = read_ensemble(assembled.path)
    _, of_other = read_ensemble(other.path)
    assert of_other.reported != comparison.reported
    assert of_other.held_out == comparison.held_out
    assert of_other.recommended is comparison.recommended


def test_a_tampered_member_is_refused_before_and_after(
    members: list[Path], assembled: Run, tmp_path: Path
) -> None:
    runs = [Path(shutil.copytree(path, tmp_path / path.name)) for path in members]
    whole = RunDirectory(Path(shutil.copytree(assembled.path, tmp_path / "whole")))
    for graph in (runs[1] / "bundle" / "head.onnx", whole.bundle / "members/1/head.onnx"):
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
    with pytest.raises(CorruptBundle, match=r"small/bundle: head.onnx is not what"):
        ensemble(runs, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(CorruptBundle, match=r"members/1: head.onnx is not what"):
        load_bundle(whole.path)


def test_members_files_are_not_stored_twice(members: list[Path], assembled: Run) -> None:
    for number, path in enumerate(members):
        for held in (assembled.files.bundle / "members" / str(number)).iterdir():
            file = path / "bundle" / held.name
            assert held.read_bytes() == file.read_bytes()
            assert held.samefile(file), "the temporary folder is one file system"


def test_an_ensemble_that_was_killed_is_done_again(
    assembled: Run, members: list[Path], tmp_path: Path
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    for name in (".lock", "train.log", f"{TEMPORARY_PREFIX}0.yaml"):
        (half / name).touch()
    shutil.copy(assembled.files.recipe, half)
    shutil.copytree(assembled.files.bundle / "members", half / "bundle" / "members")
    again = ensemble(members, output=half, method="adaptive")
    assert load_bundle(again.path).sha256 == load_bundle(assembled.path).sha256
    assert not list(half.glob(f"{TEMPORARY_PREFIX}*"))
    with pytest.raises(RunExists):
        ensemble(members, output=half, method="adaptive")


def test_card_and_report_do_not_say_where_the_images_lie(assembled: Run, synthetic: Path) -> None:
    for file in (assembled.files.card, assembled.files.report / "index.html"):
        assert str(synthetic) not in file.read_text(encoding="utf-8")


def test_the_report_says_whether_it_is_worth_its_cost(assembled: Run) -> None:
    _, comparison = read_ensemble(assembled.path)
    told = json.loads(
        (assembled.files.report / "best_member_comparison.json").read_text(encoding="utf-8")
    )
    page = (assembled.files.report / "index.html").read_text(encoding="utf-8")
    assert told["recommended"] is comparison.recommended
    assert told["reported"]["part"] == "test"
    assert ("Recommended: " if comparison.recommended else "Not recommended: ") in page
    assert "The audit has no findings" not in assembled.files.card.read_text(encoding="utf-8")
    for text in ("images a second", "adaptive", "before test was read", "3,"):
        assert text in page
    assert comparison.images_per_second is not None
    assert comparison.images_per_second > 0
    card = assembled.files.card.read_text(encoding="utf-8")
    assert "3 × " in card or "tiny32" in card


def test_an_ensemble_of_one_member_says_so_and_advises_the_member(
    members: list[Path], index: Index, tmp_path: Path, cli: Cli
) -> None:
    other = make_run(tmp_path / "other", index, side=32, seed=1).path
    output = tmp_path / "whole"
    code, out, err = cli("ensemble", members[1], other, "--output", output, "--method", "greedy")
    assert code == 0
    recipe, comparison = read_ensemble(output)
    (only,) = recipe.members
    assert not comparison.recommended
    said = f"Not recommended: {only.run} has all the weight, so this ensemble is that one member"
    assert said in out
    assert said in html.unescape((output / "report" / "index.html").read_text(encoding="utf-8"))
    assert f"holotype predict {only.run} IMAGE" in out + err
    told = json.loads((output / "report" / "best_member_comparison.json").read_text("utf-8"))
    assert (told["only_member"], told["recommended"]) == (only.run, False)


def test_predict_evaluate_and_explain_take_it(
    assembled: Run, index: Index, synthetic: Path, cli: Cli, tmp_path: Path
) -> None:
    image = index.file(index.table["path"].iloc[0])
    code, out, _ = cli("predict", assembled.path, image, "--json")
    assert code == 0
    assert json.loads(out)["bundle"] == load_bundle(assembled.path).sha256
    code, out, _ = cli("explain", assembled.path, image, "--output", tmp_path / "why.png")
    assert code == 0
    assert (tmp_path / "why.png").is_file()
    code, out, _ = cli("evaluate", assembled.path, synthetic, "--output", tmp_path / "again")
    assert code == 0
    code, _, err = cli("train", synthetic, "--recipe", assembled.files.recipe)
    assert code == 2
    assert len(err.splitlines()) == 1


def test_cross_validated_runs_are_joined_out_of_fold(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = folds(read_index(synthetic), 3)
    runs = [make_folded(tmp_path / f"{side}", index, side=side).path for side in (32, 48)]
    monkeypatch.setattr("holotype.pipeline.ensemble_report._write_report", write_scores_only)
    whole = ensemble(runs, output=tmp_path / "whole", method="weighted")
    recipe, comparison = read_ensemble(whole.path)
    oof = read_predictions(whole.files.predictions / "oof.parquet")
    decision = load_bundle(whole.path).manifest.decision
    assert decision is not None
    assert list(oof.ids) == index.table["path"].tolist()
    assert decision.predictions_sha256 == oof.digest()
    assert recipe.fitted_on == whole.report.part == "out of fold"
    assert comparison.reported == comparison.held_out
    assert not (whole.files.predictions / "test.parquet").exists()
    with pytest.raises(BundleError, match="name its members instead"):
        ensemble([whole.path, runs[0]], output=tmp_path / "again")


def test_cross_validated_runs_go_with_their_like_only(
    synthetic: Path, members: list[Path], tmp_path: Path
) -> None:
    first = make_folded(tmp_path / "first", folds(read_index(synthetic), 2), side=32)
    other = make_folded(tmp_path / "other", folds(read_index(synthetic), 2, seed=7), side=48)
    with pytest.raises(NotComparable, match=r"is cross-validated and .* is not"):
        ensemble([first.path, members[0]], output=tmp_path / "out")
    with pytest.raises(NotComparable, match="on other folds; train both"):
        ensemble([first.path, other.path], output=tmp_path / "out")


def test_images_held_back_for_sets_calibrate_those_of_the_whole(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = split(read_index(synthetic), ratios=(0.4, 0.2, 0.2, 0.2))
    runs = [
        make_run(tmp_path / str(side), index, side=side, seed=side, learns=False).path
        for side in (32, 48)
    ]
    monkeypatch.setattr("holotype.pipeline.ensemble_report._write_report", write_scores_only)
    whole = load_bundle(ensemble(runs, output=tmp_path / "whole").path)
    assert whole.manifest.decision is not None
    calibration_set = whole.manifest.decision.calibration_set
    assert calibration_set is not None
    assert (calibration_set.source, calibration_set.num_images) == ("cal", len(index.part("cal")))
    assert len(whole.conformal_scores or ()) == calibration_set.num_images


def test_an_ensemble_is_a_member_and_so_is_a_stage(
    assembled: Run, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = make_run(tmp_path / "staged", index, side=40, seed=5, learns=False)
    make_run(staged.stage("frozen").path, index, side=40, seed=6, learns=False)
    monkeypatch.setattr("holotype.pipeline.ensemble_report._write_report", write_scores_only)
    runs = [str(assembled.path), str(staged.path), f"{staged.path}@frozen"]
    whole = ensemble(runs, output=tmp_path / "whole", method="average")
    bundle = load_bundle(whole.path)
    assert [member.run for member in read_ensemble(whole.path)[0].members] == runs
    assert len(bundle.base_models) == 5
    assert bundle.ensemble_weights is not None
    assert bundle.ensemble_weights.weights_CM is None
    other = index.table.assign(split=index.table["split"].replace({"train": "val", "val": "train"}))
    swapped = make_run(
        tmp_path / "swapped", Index(index.root, other, index.classes), seed=8, learns=False
    )
    with pytest.raises(NotComparable, match="was trained on"):
        ensemble([assembled.path, swapped.path], output=tmp_path / "none")
