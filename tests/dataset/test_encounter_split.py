"""Splits for individuals: in time by encounters, and with individuals held out whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage

import holotype
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.dataset.splitting.encounter_split import describe_time_leaks
from holotype.dataset.splitting.leakage import find_leaks
from holotype.dataset.splitting.splitter import split
from holotype.dataset.splitting.unseen_individuals import hold_out_individuals
from holotype.errors import InvalidRatios, InvalidTable
from tests.conftest import Cli

DATED = "column:encounter@date"


@pytest.fixture(scope="module")
def turtles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight turtles; turtle n has 1 + n % 5 encounters on days of their own, of three images."""
    folder = tmp_path_factory.mktemp("turtles")
    rng = np.random.default_rng(0)
    rows = []
    for turtle in range(8):
        days = rng.permutation(28)[: 1 + turtle % 5] + 1
        for encounter, day in enumerate(sorted(days.tolist())):
            for image in range(3):
                name = f"{turtle}-{encounter}-{image}.png"
                pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                PillowImage.fromarray(pixels).save(folder / name)
                rows.append((name, f"turtle {turtle}", f"dive {turtle}", f"2024-05-{day:02}T08:00"))
    table = pd.DataFrame(rows, columns=["path", "label", "encounter", "date"])
    table.sample(frac=1, random_state=1).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def days_of(index: Index, name: str, part: str) -> list[str]:
    rows = index.table[(index.table["label"] == name) & (index.table["split"] == part)]
    return sorted({index.dates[path] for path in rows["path"]})


def test_an_encounter_is_a_group_on_one_day(turtles: Path) -> None:
    index = read_index(turtles, group_pattern=DATED)
    assert index.table.groupby("group").size().eq(3).all()
    assert index.table["group"].nunique() == sum(1 + turtle % 5 for turtle in range(8))
    assert set(index.dates) == set(index.table["path"])
    by_class = read_index(turtles, group_pattern="column:@date")
    assert by_class.table["group"].iloc[0].startswith("turtle ")
    assert read_index(turtles).dates == {}


def test_of_every_individual_earlier_encounters_train_and_later_ones_test(turtles: Path) -> None:
    divided = split(read_index(turtles, group_pattern=DATED), ratios=(0.6, 0.2, 0.2))
    assert find_leaks(divided) == []
    assert describe_time_leaks(divided) == []
    for turtle in range(8):
        name = f"turtle {turtle}"
        train, val, test = (days_of(divided, name, part) for part in ("train", "val", "test"))
        assert train
        assert bool(test) == (turtle % 5 > 0)  # a single encounter trains
        assert max(train) < min(val or test or ["9"]) <= max(val or test or ["9"])
        if val and test:
            assert max(val) < min(test)
    assert set(divided.table["split"]) == {"train", "val", "test"}


def test_a_given_split_that_looks_ahead_is_said_and_an_encounter_on_both_sides_leaks(
    turtles: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(turtles)
    table["path"] = [str(turtles.parent / path) for path in table["path"]]
    last = table.groupby("label")["date"].transform("max") == table["date"]
    table["split"] = np.where(last, "train", "test")
    table.to_csv(tmp_path / "backwards.csv", index=False)
    backwards = read_index(tmp_path / "backwards.csv", group_pattern=DATED)
    assert find_leaks(backwards) == []
    assert describe_time_leaks(backwards)[0].startswith("6 classes have test")  # two have one only
    table["split"] = np.where(table["path"].str.endswith("-2.png"), "test", "train")
    table.to_csv(tmp_path / "mixed.csv", index=False)
    assert len(find_leaks(read_index(tmp_path / "mixed.csv", group_pattern=DATED))) == 21


def test_a_date_that_is_none_is_refused_with_its_row(turtles: Path, tmp_path: Path) -> None:
    table = pd.read_csv(turtles)
    table.loc[2, "date"] = "17.5.24"
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(InvalidTable, match=r"row 3 .*: the date '17.5.24'; expected a date such"):
        read_index(tmp_path / "table.csv", group_pattern=DATED)
    with pytest.raises(InvalidTable, match="no column 'day'"):
        read_index(turtles, group_pattern="column:encounter@day")


def test_individuals_are_held_out_whole_whatever_the_order_of_rows(turtles: Path) -> None:
    index = read_index(turtles, group_pattern=DATED)
    seen, unseen = hold_out_individuals(index, 0.25, seed=3)
    assert len(unseen.classes) == 2
    assert not set(seen.table["label"]) & set(unseen.table["label"])
    assert len(seen) + len(unseen) == len(index)
    assert set(seen.classes) == set(seen.table["label"])
    others = {hold_out_individuals(index, 0.25, seed=seed)[1].classes for seed in range(9)}
    assert len(others) > 3
    nobody = hold_out_individuals(index, 0.0, seed=3)
    assert nobody[0] is index
    assert len(nobody[1]) == 0


def test_individuals_that_share_a_group_or_copies_stay_on_one_side(turtles: Path) -> None:
    index = read_index(turtles, group_pattern="column:date")
    both = frozenset(
        index.table.loc[index.table["label"].isin(["turtle 1", "turtle 2"]), "path"].head(12)
    )
    for seed in range(10):
        _, unseen = hold_out_individuals(index, 0.5, seed=seed, keep_together=[both])
        assert ("turtle 1" in unseen.classes) == ("turtle 2" in unseen.classes)
    everybody = frozenset(index.table["path"])
    with pytest.raises(InvalidRatios, match="would hold out 0 and leave 8"):
        hold_out_individuals(index, 0.5, seed=0, keep_together=[everybody])
    with pytest.raises(InvalidRatios, match="leave 1 to train on"):
        hold_out_individuals(read_index(turtles, group_pattern=DATED), 0.9, seed=0)


def test_the_command_writes_unseen_individuals_beside_the_parts(
    turtles: Path, tmp_path: Path, cli: Cli
) -> None:
    words = ("split", turtles, "--output", tmp_path / "split", "--group-pattern", DATED,
             "--unseen", 0.25)  # fmt: skip
    code, _, err = cli(*words)
    assert code == 0, err
    assert "2 classes with" in err
    unseen = pd.read_csv(tmp_path / "split" / "unseen.csv")
    table = pd.read_csv(tmp_path / "split" / "table.csv")
    assert not set(unseen["label"]) & set(table["label"])
    assert all((tmp_path / "split" / path).is_file() for path in unseen["path"])
    assert len(unseen) + len(table) == 3 * 21
    again = cli(*words)
    assert again[0] == 0
    assert "(as it was)" in again[1]
    assert cli(*words[:-1], 0.5)[0] == 1  # another split
    assert cli(*words[:-1], 0.5, "--force")[0] == 0
    assert pd.read_csv(tmp_path / "split" / "unseen.csv")["label"].nunique() == 4
    assert cli(*words[:-1], 1.5)[0] == 2


def test_a_training_never_sees_them_and_keeps_their_table(turtles: Path, tmp_path: Path) -> None:
    run = holotype.train(
        turtles, output=tmp_path / "run", recipe="linear", model="hog", image_size=32,
        overrides={"split.unseen": 0.25}, ratios=(0.6, 0.2, 0.2),
        reading=holotype.ReadingOptions(group_pattern=DATED),
    )  # fmt: skip
    unseen = read_index_file(tmp_path / "run" / "unseen.parquet")
    assert set(unseen.table["split"]) == {""}
    assert len(unseen.classes) == 2
    assert not set(unseen.classes) & set(run.classifier.classes)
    assert len(run.classifier.classes) == 6
    with pytest.raises(holotype.errors.InvalidRecipe, match="unseen holds out individuals"):
        holotype.train(
            turtles, output=tmp_path / "folds", recipe="linear", model="hog", folds=2,
            image_size=32, overrides={"split.unseen": 0.25},
        )  # fmt: skip
