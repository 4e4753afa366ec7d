"""Folds for cross-validation: every image is asked about once, by a model that never saw it."""

import random

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from holotype.dataset.splitting.splitter import folds
from holotype.errors import InvalidFolds
from tests.dataset.indices import fold_of, make_index


def test_folds_are_even_in_size_and_in_every_class() -> None:
    index = folds(make_index(["a"] * 100 + ["b"] * 50 + ["c"] * 5), 5)
    counts = pd.crosstab(index.table["label"], index.table["fold"])
    assert counts.to_numpy().tolist() == [[20] * 5, [10] * 5, [1] * 5]
    assert set(index.table["split"]) == {""}


def test_a_class_is_spread_over_as_many_folds_as_it_has_images() -> None:
    index = folds(make_index(["a"] * 40 + ["b"] * 3 + ["c"] * 4 + ["d"]), 5)
    spread = index.table.groupby("label")["fold"].nunique()
    assert spread.to_dict() == {"a": 5, "b": 3, "c": 4, "d": 1}
    assert index.table["fold"].value_counts().max() <= 10


def test_the_test_part_stands_outside_of_the_folds() -> None:
    index = make_index(["a"] * 30 + ["b"] * 30, splits=["train", "val", "test"] * 20)
    done = folds(index, 4)
    assert set(done.part("test").table["fold"]) == {-1}
    others = done.table[done.table["split"] != "test"]
    assert others["fold"].value_counts().to_dict() == dict.fromkeys(range(4), 10)
    assert list(done.table["split"]) == list(index.table["split"])


def test_the_calibration_part_stands_outside_of_the_folds() -> None:
    index = make_index(["a", "b"] * 20, splits=["cal"] * 10 + ["train"] * 30)
    places = fold_of(folds(index, 3))
    assert {places[path] for path in index.part("cal").table["path"]} == {-1}
    assert set(places.values()) == {-1, 0, 1, 2}


def test_groups_are_spread_at_least_as_evenly_as_scikit_learn_does() -> None:
    rng = random.Random(5)
    labels, groups = [], []
    for number in range(60):
        size = rng.choice([2, 3, 5, 8, 13])
        labels += [rng.choice("aaab")] * size
        groups += [f"g{number}"] * size
    index = folds(make_index(labels, groups), 5)
    assert index.table.groupby("group")["fold"].nunique().max() == 1

    def unevenness(fold_N: np.ndarray) -> float:
        return float(pd.crosstab(index.table["label"], fold_N).to_numpy().std(axis=1).sum())

    theirs = np.zeros(len(index), int)
    peer = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    parts = peer.split(theirs, index.table["label"], index.table["group"])
    for number, (_, held_out) in enumerate(parts):
        theirs[held_out] = number
    assert unevenness(index.table["fold"].to_numpy()) <= unevenness(theirs)


def test_another_seed_gives_other_folds() -> None:
    index = make_index(["a"] * 50 + ["b"] * 50)
    assert fold_of(folds(index, 5, seed=1)) != fold_of(folds(index, 5, seed=2))
    assert fold_of(folds(index, 5, seed=1)) == fold_of(folds(index, 5, seed=1))


@pytest.mark.parametrize(("num_folds", "message"), [(1, "at least 2"), (4, "there are 3")])
def test_folds_that_cannot_be_filled_are_refused(num_folds: int, message: str) -> None:
    with pytest.raises(InvalidFolds, match=message):
        folds(make_index(list("aaab"), ["g", "g", "", ""]), num_folds)


@pytest.mark.timeout(30)
def test_ten_thousand_classes_of_two_are_folded_in_time() -> None:
    index = folds(make_index([f"c{i // 2}" for i in range(20_000)]), 5)
    assert index.table["fold"].value_counts().to_dict() == dict.fromkeys(range(5), 4_000)
    assert index.table.groupby("label")["fold"].nunique().min() == 2
