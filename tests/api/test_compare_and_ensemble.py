"""Program 5: two runs compared, and made one, without the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import holotype
from tests.api.programs import QUICK, SAME, stored_probabilities, test_files


@pytest.fixture(scope="module")
def comparison(run: holotype.Run, other_run: holotype.Run) -> holotype.Comparison:
    return holotype.compare([run.path, other_run.path], speed_images=0)


def accuracy_on(run: holotype.Run, part: str) -> float:
    table = pd.read_parquet(run.path / "predictions" / f"{part}.parquet")
    answers = stored_probabilities(run.path, part).argmax(axis=1)
    return float(np.mean(answers == table["target"]))


def test_a_comparison_has_the_accuracy_of_each_run_on_each_part(
    comparison: holotype.Comparison, run: holotype.Run, other_run: holotype.Run
) -> None:
    frame = comparison.to_frame()
    for part in ("test", "val"):
        rows = frame[frame["part"] == part].set_index("run")
        assert len(rows) == 2
        for one in (run, other_run):
            assert rows.loc[one.path.name, "accuracy"] == pytest.approx(accuracy_on(one, part))


def test_a_comparison_says_how_far_apart_two_runs_are(
    comparison: holotype.Comparison, run: holotype.Run, other_run: holotype.Run
) -> None:
    frame = comparison.to_frame().query("part == 'test'")
    best, second = (row for _, row in frame.iterrows())
    assert best["accuracy"] >= second["accuracy"]
    assert pd.isna(best["accuracy_difference_to_best"])
    gap = second["accuracy"] - best["accuracy"]
    assert second["accuracy_difference_to_best"] == pytest.approx(gap)
    assert (
        second["accuracy_difference_to_best_low"]
        <= gap
        <= second["accuracy_difference_to_best_high"]
    )


def test_runs_that_cannot_be_told_apart_share_their_ranks(
    run: holotype.Run, tmp_path: Path, shapes: Path
) -> None:
    twin = holotype.train(
        shapes, model="hog", recipe="linear", overrides=QUICK, output=tmp_path / "twin"
    )
    frame = holotype.compare([run, twin], speed_images=0).to_frame().query("part == 'test'")
    assert set(frame["rank_best"]) == {1}
    assert set(frame["rank_worst"]) == {2}


def test_a_comparison_is_written_where_it_is_told(
    run: holotype.Run, other_run: holotype.Run, tmp_path: Path
) -> None:
    comparison = holotype.compare(
        [run.path, other_run.path], output=tmp_path / "both", select="best", speed_images=0
    )
    for name in ("index.html", "comparison.md", "comparison.json", "selection.json"):
        assert (tmp_path / "both" / name).is_file()
    pd.testing.assert_frame_equal(
        comparison.to_frame(), pd.read_csv(tmp_path / "both" / "comparison.csv"), check_dtype=False
    )
    pd.testing.assert_frame_equal(
        comparison.per_class, pd.read_csv(tmp_path / "both" / "per_class.csv"), check_dtype=False
    )
    chosen = json.loads((tmp_path / "both" / "selection.json").read_text())["selections"][0]
    assert comparison.selected.path.name == chosen["run"]
    assert comparison.selected.bundle_sha256 == chosen["bundle_sha256"]


def test_the_run_to_ship_is_chosen_on_validation(
    run: holotype.Run, other_run: holotype.Run
) -> None:
    comparison = holotype.compare([run.path, other_run.path], select="best", speed_images=0)
    better = max((run, other_run), key=lambda one: accuracy_on(one, "val"))
    if accuracy_on(run, "val") != accuracy_on(other_run, "val"):
        assert comparison.selected.path == better.path
    assert holotype.compare([run.path, other_run.path], speed_images=0).selected is None


def test_a_folder_of_runs_is_compared_as_a_whole(
    run: holotype.Run, other_run: holotype.Run, tmp_path: Path
) -> None:
    for one in (run, other_run):
        (tmp_path / one.path.name).symlink_to(one.path)
    comparison = holotype.compare(tmp_path, output=tmp_path / "out", speed_images=0)
    assert set(comparison.to_frame()["run"]) == {run.path.name, other_run.path.name}


def test_an_ensemble_is_a_run(both: holotype.Run, run: holotype.Run) -> None:
    assert isinstance(both, holotype.Run)
    assert both.classifier.classes == run.classifier.classes
    assert yaml.safe_load((both.path / "recipe.yaml").read_text())["method"] == "average"
    assert both.metrics["accuracy"].value == pytest.approx(accuracy_on(both, "test"))
    assert repr(holotype.load(both.path)).count("\n") < 12


def test_an_ensemble_averages_its_members(
    both: holotype.Run, run: holotype.Run, other_run: holotype.Run, shapes: Path
) -> None:
    files, _ = test_files(run.path, shapes)
    mean = np.mean([one.classifier.predict_proba(files) for one in (run, other_run)], axis=0)
    manifest = json.loads((both.path / "bundle" / "manifest.json").read_text())
    sharpened = mean ** (1 / manifest["decision"]["temperature"])
    expected = sharpened / sharpened.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.classifier.predict_proba(files), expected, atol=SAME, rtol=0)


def test_an_ensemble_weighs_as_many_members_as_it_was_given(
    both: holotype.Run, run: holotype.Run, other_run: holotype.Run
) -> None:
    digests = {
        member["bundle"]
        for member in yaml.safe_load((both.path / "recipe.yaml").read_text())["members"]
    }
    assert digests == {run.classifier.digest, other_run.classifier.digest}


def test_an_ensemble_is_compared_like_any_run(
    both: holotype.Run, run: holotype.Run, other_run: holotype.Run
) -> None:
    comparison = holotype.compare([run, other_run, both], speed_images=0)
    assert len(comparison.to_frame().query("part == 'test'")) == 3


def test_one_run_makes_no_ensemble_and_no_comparison_of_two_data_sets(
    run: holotype.Run, sure_run: holotype.Run, tmp_path: Path
) -> None:
    with pytest.raises(holotype.HolotypeError):
        holotype.ensemble([run.path], output=tmp_path / "one")
    with pytest.raises(holotype.HolotypeError):
        holotype.ensemble([run.path, sure_run.path], output=tmp_path / "two")
    assert not (tmp_path / "one" / "bundle").exists()
    assert not (tmp_path / "two" / "bundle").exists()
