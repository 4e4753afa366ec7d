"""Program 6: the labels are in a DataFrame, and no table is written for Holotype's sake."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import holotype
from tests.api.programs import QUICK, stored_probabilities


@pytest.fixture
def table(shapes: Path) -> pd.DataFrame:
    """Columns path and label, in no order."""
    rows = [
        {"path": str(path), "label": path.parent.name} for path in sorted(shapes.glob("*/*.png"))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def quick(data: object, output: Path, **options: object) -> holotype.Run:
    return holotype.train(
        data, model="hog", recipe="linear", overrides=QUICK, output=output, **options
    )


def index_of(run: holotype.Run, data: Path) -> pd.DataFrame:
    """The index, by the name of the image below the data."""
    index = pd.read_parquet(run.path / "index.parquet")
    names = ["/".join(Path(path).parts[-2:]) for path in index["path"]]
    return index.set_axis(names, axis=0)


def test_a_frame_trains_what_the_same_folder_trains(
    table: pd.DataFrame, shapes: Path, run: holotype.Run, tmp_path: Path
) -> None:
    trained = quick(table, tmp_path / "run")
    ours, theirs = index_of(trained, shapes), index_of(run, shapes)
    pd.testing.assert_frame_equal(
        ours[["label", "sha256"]].sort_index(), theirs[["label", "sha256"]].sort_index()
    )
    assert trained.classifier.classes == run.classifier.classes


def test_a_frame_trains_what_the_same_csv_trains(
    table: pd.DataFrame, shapes: Path, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "table.csv", index=False)
    ours = quick(table, tmp_path / "ours")
    theirs = quick(tmp_path / "table.csv", tmp_path / "theirs")
    for part in ("val", "test"):
        np.testing.assert_allclose(
            stored_probabilities(ours.path, part),
            stored_probabilities(theirs.path, part),
            atol=1e-9,
        )


def test_a_frame_is_left_as_it_was(table: pd.DataFrame, tmp_path: Path) -> None:
    before = table.copy(deep=True)
    quick(table, tmp_path / "run")
    pd.testing.assert_frame_equal(table, before)


def test_a_group_column_keeps_groups_on_one_side(
    table: pd.DataFrame, shapes: Path, tmp_path: Path
) -> None:
    table["group"] = [
        f"{label}-{int(Path(path).stem) // 4}"
        for path, label in zip(table["path"], table["label"], strict=True)
    ]
    trained = quick(table, tmp_path / "run")
    index = index_of(trained, shapes)
    assert index["group"].nunique() == 30
    assert (index.groupby("group")["split"].nunique() == 1).all()


def test_a_split_column_is_obeyed(table: pd.DataFrame, shapes: Path, tmp_path: Path) -> None:
    numbers = table["path"].map(lambda path: int(Path(path).stem))
    table["split"] = np.select([numbers % 5 == 0, numbers % 5 == 1], ["test", "val"], "train")
    trained = quick(table, tmp_path / "run")
    index = index_of(trained, shapes)
    expected = dict(
        zip(
            ["/".join(Path(path).parts[-2:]) for path in table["path"]], table["split"], strict=True
        )
    )
    assert index["split"].to_dict() == expected
    assert len(trained.predictions("test")) == 24


def test_a_weight_column_weighs_every_score(
    table: pd.DataFrame, shapes: Path, tmp_path: Path
) -> None:
    table["weight"] = np.where(table["label"] == "disc", 0.25, 1.0)
    trained = quick(table, tmp_path / "run")
    index = index_of(trained, shapes)
    expected = np.where(index["label"] == "disc", 0.25, 1.0)
    np.testing.assert_array_equal(index["weight"].to_numpy(), expected)
    rows = pd.read_parquet(trained.path / "predictions" / "test.parquet")
    right = stored_probabilities(trained.path, "test").argmax(axis=1) == rows["target"]
    accuracy = np.average(right, weights=rows["weight"])
    assert trained.metrics["accuracy"].value == pytest.approx(accuracy)


def test_a_frame_without_groups_may_hold_an_empty_group(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    table["group"] = None
    trained = quick(table, tmp_path / "run")
    assert (
        pd.read_parquet(trained.path / "index.parquet")["group"].isna().all()
        or (pd.read_parquet(trained.path / "index.parquet")["group"] == "").all()
    )


def test_relative_paths_are_those_of_the_working_directory(
    table: pd.DataFrame, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shapes)
    table["path"] = [str(Path(path).relative_to(shapes)) for path in table["path"]]
    trained = quick(table, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert holotype.load(tmp_path / "run").predict(shapes / "disc").labels.shape == (40,)
    assert set(index_of(trained, shapes).index) == {
        str(path.relative_to(shapes)) for path in shapes.glob("*/*.png")
    }


def test_paths_may_be_path_objects_and_labels_numbers(table: pd.DataFrame, tmp_path: Path) -> None:
    table["path"] = table["path"].map(Path)
    table["label"] = table["label"].map({"disc": 0, "square": 1, "triangle": 2})
    trained = quick(table, tmp_path / "run")
    assert trained.classifier.classes == ("0", "1", "2")


def test_a_frame_is_taken_by_every_verb_that_takes_data(
    table: pd.DataFrame, run: holotype.Run, shapes: Path, tmp_path: Path
) -> None:
    assert holotype.audit(table, quick=True).images == 120
    report = holotype.evaluate(run.path, table)
    assert report.metrics["accuracy"].value == pytest.approx(
        holotype.evaluate(run.path, shapes).metrics["accuracy"].value
    )
    split = holotype.split(table, output=tmp_path / "parts")
    assert sum(sum(classes.values()) for classes in split.counts.values()) == 120


@pytest.mark.parametrize("column", ["path", "label"])
def test_a_frame_without_a_column_that_is_needed_is_refused(
    column: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(holotype.HolotypeError, match=column):
        quick(table.drop(columns=column), tmp_path / "run")


def test_an_image_that_is_not_there_costs_itself_only(table: pd.DataFrame, tmp_path: Path) -> None:
    missing = pd.DataFrame([{"path": str(tmp_path / "gone.png"), "label": "disc"}])
    audit = holotype.audit(pd.concat([table, missing]), quick=True)
    assert audit.images == 121
    assert audit.usable == 120
    assert [Path(issue.path).name for issue in audit.issues] == ["gone.png"]
