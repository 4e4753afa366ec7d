"""Which images train an embedding, and which choose its epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from holotype.dataset.index import COLUMNS, Index
from holotype.training.data.identity_validation import select_images, validate_by_identity
from holotype.training.data.loader import LabelledViews
from tests.training.tiny import Arrays


def index_of(labels: list[str], groups: list[str], split: list[str]) -> Index:
    table = pd.DataFrame({name: [""] * len(labels) for name in COLUMNS})
    table["path"] = [f"{n:03}.png" for n in range(len(labels))]
    table["label"], table["group"], table["split"] = labels, groups, split
    return Index(Path(), table, tuple(sorted(set(labels))))


def views_of(index: Index, part: str) -> LabelledViews:
    images = index.part(part)
    values = np.arange(len(images), dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), "f4")
    return LabelledViews(Arrays(values), images.targets_N, np.ones(len(images), np.float32))


@pytest.fixture
def ten() -> Index:
    """Ten individuals with two encounters of two training images, and a validation image."""
    labels = [f"turtle {n}" for n in range(10) for _ in range(5)]
    groups = [f"{n}.{k}" for n in range(10) for k in (0, 0, 1, 1, 2)]
    return index_of(labels, groups, ["train", "train", "train", "train", "val"] * 10)


def test_a_share_of_the_individuals_validates_and_does_not_train(ten: Index) -> None:
    train, validation = views_of(ten, "train"), views_of(ten, "val")
    rest, searching, said = validate_by_identity(ten, train, validation, 0.2, seed=0)
    assert searching is not None
    assert said == "2 of 10 classes do not train and validate"
    assert not set(rest.targets_N) & set(searching.targets_N)
    assert (len(rest.views), len(searching.views)) == (32, 8)
    assert len(set(searching.encounters_N)) == 4  # so that nobody is found by its own encounter
    for images in (rest, searching):  # each image under its own label
        rows = images.views.batch(list(range(len(images.targets_N))), [0] * len(images.targets_N))
        np.testing.assert_array_equal(rows[:, 0].astype(int) // 4, images.targets_N)
    chosen = {tuple(np.unique(validate_by_identity(ten, train, None, 0.2, seed)[1].targets_N))
              for seed in range(8)}  # fmt: skip
    assert len(chosen) > 3


def test_otherwise_the_validation_part_searches_or_nobody_does(ten: Index) -> None:
    train, validation = views_of(ten, "train"), views_of(ten, "val")
    for share in (0.0, 0.1, 0.95):  # nobody, one individual, all but one
        rest, searching, said = validate_by_identity(ten, train, validation, share, seed=0)
        assert len(rest.targets_N) == 40
        assert searching is not None
        assert len(searching.targets_N) == 10
        assert said.startswith("the validation part")
    assert validate_by_identity(ten, train, None, 0.0, seed=0)[1] is None
    lonely = index_of(list("abcdefgh"), [""] * 8, ["train"] * 4 + ["val"] * 4)
    rest, searching, said = validate_by_identity(
        lonely, views_of(lonely, "train"), views_of(lonely, "val"), 0.5, seed=0
    )
    assert searching is None
    assert "no validation image has another" in said


def test_encounters_of_both_parts_are_told_apart(ten: Index) -> None:
    rest, searching, _ = validate_by_identity(
        ten, views_of(ten, "train"), views_of(ten, "val"), 0.0, seed=0
    )
    assert searching is not None
    assert searching.encounters_N is not None
    assert rest.encounters_N is not None
    # Every validation image is of an encounter of its own, which no training image is of.
    assert len(set(searching.encounters_N)) == 10
    assert len({*searching.encounters_N, *rest.encounters_N}) == 30


def test_images_of_one_validation_encounter_do_not_find_each_other() -> None:
    labels, parts = ["a"] * 4 + ["b"] * 4, ["train", "train", "val", "val"] * 2
    index = index_of(labels, ["a0", "a0", "a1", "a1", "b0", "b0", "b1", "b1"], parts)
    _, searching, _ = validate_by_identity(
        index, views_of(index, "train"), views_of(index, "val"), 0.0, seed=0
    )
    assert searching is not None
    first, second = searching.encounters_N[:2]
    assert first == second >= 0


def test_a_group_with_all_images_of_its_individual_is_no_encounter(ten: Index) -> None:
    whole = replace(ten, table=ten.table.assign(group=ten.table["label"]))
    _, searching, _ = validate_by_identity(whole, views_of(whole, "train"), None, 0.2, seed=0)
    assert searching is not None
    assert (searching.encounters_N == -1).all()


def test_selected_images_keep_their_weights_and_views(ten: Index) -> None:
    train = views_of(ten, "train")
    some = select_images(train, np.array([7, 3]))
    assert some.targets_N.tolist() == [train.targets_N[7], train.targets_N[3]]
    assert some.views.batch([1, 0], [0, 1])[:, 0].tolist() == [3.0, 7.0]
