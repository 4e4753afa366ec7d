"""Runs on disk, compared: what is read, what is refused, what is left out, what is chosen."""

import json
import shutil
from pathlib import Path

import pytest

from holotype.comparison.result import Comparison
from holotype.ensembles.ensemble_recipe import EnsembleRecipe, MemberRecipe
from holotype.ensembles.gain import (
    BEST_MEMBER_COMPARISON,
    BestMemberComparison,
    DifferenceInterval,
    Gain,
)
from holotype.errors import InvalidSelection, NotARun, NotComparable, UsageError
from holotype.files import write_json
from holotype.pipeline.compare import compare, comparison_directory
from holotype.predictions import read_predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from tests.comparison.made import write_class_folders, write_run


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in tests/comparison/test_comparison_page.py, and take a second each time."""
    monkeypatch.setattr("holotype.comparison.comparison_figures.all_figures", lambda comparison: {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("data") / "noise")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs on the same split; not to be written to."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        write_run(folder / f"noise-{seed}", data, seed=seed)
    return folder


@pytest.fixture
def own_runs(runs: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def _compared(*paths: Path | str, output: Path, **said: object) -> Comparison:
    return compare(paths, output=output, **{"speed_images": 0, **said})


def test_a_folder_is_all_runs_one_level_below_it(own_runs: Path) -> None:
    comparison = compare([own_runs], speed_images=0)
    assert list(comparison.by_name) == ["noise-0", "noise-1"]
    assert list(comparison.leaderboards) == ["test", "val"]
    assert (own_runs / "_comparison" / "index.html").is_file()
    assert comparison.candidates[0].cost.training_seconds == 12.5
    again = _compared(*sorted(own_runs.iterdir()), output=own_runs / "_comparison")
    assert list(again.by_name) == ["noise-0", "noise-1"]  # its own output is no run
    assert again.notes == ()


def test_the_images_of_disagreements_are_on_the_page(runs: Path, tmp_path: Path) -> None:
    comparison = _compared(runs, output=tmp_path)
    html = (tmp_path / "index.html").read_text()
    assert comparison.disagreements
    assert html.count("data:image/jpeg") == len(comparison.disagreements)


def test_an_image_that_changed_is_not_shown(own_runs: Path, data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "noise"))
    run = write_run(tmp_path / "one", moved, seed=3)
    other = write_run(tmp_path / "two", moved, seed=4)
    shutil.rmtree(moved)
    _compared(run.path, other.path, output=tmp_path / "out")
    html = (tmp_path / "out" / "index.html").read_text()
    assert "data:image/jpeg" not in html
    assert "image not available" in html


def test_runs_that_were_not_tested_on_the_same_images_are_refused_by_name(
    runs: Path, data: Path, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other-split", data, split_seed=7)
    with pytest.raises(NotComparable) as refused:
        _compared(runs, other.path, output=tmp_path / "out")
    said = str(refused.value)
    assert "of 'noise-0' only" in said
    assert "of 'other-split' only" in said
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_left_out_and_named(own_runs: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_runs / "noise-1" / "predictions")
    comparison = _compared(own_runs, output=tmp_path / "out")
    assert list(comparison.by_name) == ["noise-0"]
    said = " ".join(comparison.notes)
    assert "noise-1 was left out: it has no predictions" in said
    assert "One run only" in said
    assert "nothing to compare" in (tmp_path / "out" / "index.html").read_text()


def test_a_broken_bundle_costs_its_run_only(own_runs: Path, tmp_path: Path) -> None:
    (own_runs / "noise-1" / "bundle" / "head.onnx").write_bytes(b"no graph")
    comparison = _compared(own_runs, output=tmp_path / "out")
    assert any("noise-1 was left out" in note and "head.onnx" in note for note in comparison.notes)


@pytest.mark.parametrize("make", ["empty", "file"])
def test_what_holds_no_run_is_said(tmp_path: Path, make: str) -> None:
    place = tmp_path / "place"
    if make == "empty":
        place.mkdir()
    else:
        place.touch()
    with pytest.raises(NotComparable, match=r"none of these is a run .*place was left out"):
        _compared(place, output=tmp_path / "out")


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="does not exist"):
        _compared(tmp_path / "nowhere", output=tmp_path / "out")


def test_only_a_folder_of_runs_is_a_place_by_itself(runs: Path) -> None:
    before = sorted(runs.rglob("*"))
    compare([runs / "noise-0", runs / "noise-1"], speed_images=0)
    compare(runs / "noise-0", speed_images=0)  # nothing is written into a run
    assert sorted(runs.rglob("*")) == before
    assert comparison_directory([str(runs)], None) == runs / "_comparison"


@pytest.mark.parametrize("gap", [0.0, -1.0, 1.5, float("nan")])
def test_gaps_are_shares(runs: Path, tmp_path: Path, gap: float) -> None:
    with pytest.raises(UsageError, match="--recall-gap"):
        _compared(runs, output=tmp_path, recall_gap=gap)


def test_a_run_that_is_given_twice_counts_once(runs: Path, tmp_path: Path) -> None:
    comparison = _compared(runs, runs / "noise-0", output=tmp_path)
    assert list(comparison.by_name) == ["noise-0", "noise-1"]


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        shutil.copytree(runs / "noise-0", tmp_path / folder / "noise")
    comparison = _compared(
        tmp_path / "a" / "noise", tmp_path / "b" / "noise", output=tmp_path / "out"
    )
    assert list(comparison.by_name) == ["a/noise", "b/noise"]


def test_a_stage_is_asked_about_test_since_it_never_was(own_runs: Path, tmp_path: Path) -> None:
    stage = own_runs / "noise-0" / "stages" / "head"
    shutil.copytree(own_runs / "noise-1", stage)
    (stage / "predictions" / "test.parquet").unlink()
    given = f"{own_runs / 'noise-0'}@head"
    comparison = _compared(own_runs, given, output=tmp_path / "out")
    assert list(comparison.by_name) == ["noise-0", "noise-1", "noise-0@head"]
    answers = comparison.main.aligned
    assert answers.predicted_MN[2].tolist() == answers.predicted_MN[1].tolist()
    assert not (stage / "predictions" / "test.parquet").exists()  # the run is left as it was


def test_the_one_to_ship_is_chosen_on_validation(runs: Path, tmp_path: Path) -> None:
    comparison = _compared(runs, output=tmp_path, select="best")
    validation = comparison.leaderboards["val"]
    assert comparison.selected is not None
    assert comparison.selected.name == validation.names[validation.best]
    (selected,) = json.loads((tmp_path / "selection.json").read_text())["selections"]
    bundle = runs / comparison.selected.name / "bundle"
    assert (tmp_path / selected["bundle"]).resolve() == bundle.resolve()
    assert selected["data"] == "noise"


def test_a_bundle_beside_the_comparison_is_found_from_it(own_runs: Path) -> None:
    comparison = compare([own_runs], select="best", speed_images=0)
    place = own_runs / "_comparison"
    (selected,) = json.loads((place / "selection.json").read_text())["selections"]
    assert comparison.selected is not None
    assert selected["bundle"] == f"../{comparison.selected.name}/bundle"
    assert (place / selected["bundle"] / "manifest.json").is_file()


def test_without_validation_nothing_is_chosen(own_runs: Path, tmp_path: Path) -> None:
    for run in own_runs.iterdir():
        (run / "predictions" / "val.parquet").unlink()
    with pytest.raises(InvalidSelection, match="never chosen on test"):
        _compared(own_runs, output=tmp_path, select="best")


def test_validation_that_differs_is_not_compared(own_runs: Path, tmp_path: Path) -> None:
    file = own_runs / "noise-1" / "predictions" / "val.parquet"
    predictions = read_predictions(file)
    predictions.select(predictions.targets_N >= 1).write(file)
    comparison = _compared(own_runs, output=tmp_path)
    assert list(comparison.leaderboards) == ["test"]
    assert any(note.startswith("Nothing is compared on val:") for note in comparison.notes)
    with pytest.raises(InvalidSelection):
        _compared(own_runs, output=tmp_path, select="best")


def test_a_run_without_one_part_is_missing_there_only(own_runs: Path, tmp_path: Path) -> None:
    (own_runs / "noise-1" / "predictions" / "val.parquet").unlink()
    comparison = _compared(own_runs, output=tmp_path)
    assert comparison.leaderboards["test"].names == ("noise-0", "noise-1")
    assert comparison.leaderboards["val"].names == ("noise-0",)
    assert "Without predictions of val: noise-1." in comparison.notes


def test_folds_are_compared_and_chosen_out_of_fold(own_runs: Path, tmp_path: Path) -> None:
    for path in own_runs.iterdir():
        run = RunDirectory(path)
        (run.predictions / "test.parquet").rename(run.predictions / "oof.parquet")
        (run.predictions / "val.parquet").unlink()
    comparison = _compared(own_runs, output=tmp_path, select="best")
    assert list(comparison.leaderboards) == ["oof"]
    assert comparison.selection is not None
    assert comparison.selection.part == "oof"


def test_an_ensemble_that_was_fitted_on_validation_is_said_to_be_scored_too_high_there(
    own_runs: Path, tmp_path: Path
) -> None:
    members = tuple(MemberRecipe(f"noise-{n}", "0" * 64, "tiny", {"crack": 0.5}) for n in range(2))
    recipe = EnsembleRecipe("both", "greedy", "greedy", "validation", "noise-0", members)
    (own_runs / "noise-1" / "recipe.yaml").write_text(recipe.to_yaml())
    notes = _compared(own_runs, output=tmp_path).notes
    assert any("noise-1 is an ensemble" in note and "too optimistic" in note for note in notes)


def test_an_ensemble_whose_report_does_not_recommend_it_is_passed_over(
    own_runs: Path, tmp_path: Path
) -> None:
    best = _compared(own_runs, output=tmp_path, select="best").selected
    assert best is not None
    members = tuple(MemberRecipe(f"noise-{n}", "0" * 64, "tiny", {"crack": 0.5}) for n in range(2))
    recipe = EnsembleRecipe("both", "greedy", "greedy", "validation", "noise-0", members)
    (best.path / "recipe.yaml").write_text(recipe.to_yaml())
    nothing = Gain("val", 9, *(DifferenceInterval(0.0, -0.1, 0.1) for _ in range(2)))
    comparison = BestMemberComparison("noise-0", nothing, nothing, None, None)
    write_json(best.path / "report" / BEST_MEMBER_COMPARISON, comparison.to_json())
    chosen = _compared(own_runs, output=tmp_path, select="best")
    assert chosen.selected is not None
    assert chosen.selected.name != best.name
    (selected,) = json.loads((tmp_path / "selection.json").read_text())["selections"]
    assert "does not recommend it" in selected["passed_over"][best.name]
    assert best.name in chosen.selection_sentence()


def test_an_ensemble_is_judged_on_validation_as_held_out_folds_answer_it(
    own_runs: Path, tmp_path: Path
) -> None:
    predictions = own_runs / "noise-1" / "predictions"
    shutil.copy(
        own_runs / "noise-0" / "predictions" / "val.parquet",
        predictions / "val_held_out.parquet",
    )
    answers = _compared(own_runs, output=tmp_path).leaderboards["val"].aligned
    assert answers.predicted_MN[0].tolist() == answers.predicted_MN[1].tolist()


def test_a_damaged_file_of_one_run_costs_that_run_alone(own_runs: Path, tmp_path: Path) -> None:
    file = own_runs / "noise-1" / "predictions" / "val.parquet"
    file.write_bytes(file.read_bytes()[:-40])
    comparison = _compared(own_runs, output=tmp_path)
    assert "noise-1" not in comparison.by_name
    assert any("val.parquet" in note and "noise-1" in note for note in comparison.notes)


def test_speed_is_measured_on_validation_images_and_it_is_said(runs: Path, tmp_path: Path) -> None:
    comparison = _compared(runs, output=tmp_path, speed_images=6)
    assert "on 6 validation images" in comparison.measured_on
    assert all((one.cost.images_per_second or 0) > 0 for one in comparison.candidates)
    assert set(comparison.pareto_front) <= {"noise-0", "noise-1"}


def test_the_same_runs_give_the_same_files(runs: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        compare([runs], output=tmp_path / place, speed_images=0, progress=Progress())
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
