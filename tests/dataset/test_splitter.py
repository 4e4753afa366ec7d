import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import (
    atomic_group_counts,
    class_counts_by_part,
    describe_missing_classes,
    missing_classes,
    split,
)
from holotype.errors import InvalidRatios, InvalidTable
from tests.dataset.indices import make_index, part_of


def counts(index: Index) -> list[list[int]]:
    return [[int(n) for n in row] for row in class_counts_by_part(index).to_numpy()]


def test_every_class_is_split_as_the_ratios_say() -> None:
    index = split(make_index(["a"] * 200 + ["b"] * 100 + ["c"] * 20))
    assert counts(index) == [[140, 30, 30], [70, 15, 15], [14, 3, 3]]


def test_totals_follow_the_ratios_where_classes_cannot() -> None:
    index = split(make_index([f"c{i % 40}" for i in range(400)]))  # 10 each: 7, 1.5, 1.5
    assert class_counts_by_part(index).sum().to_dict() == {"train": 280, "val": 60, "test": 60}
    assert set(map(tuple, counts(index))) <= {(7, 1, 2), (7, 2, 1)}


def test_small_classes_fill_train_then_test_then_val() -> None:
    index = split(make_index(list("abbcccdddd") + ["e"] * 100))
    assert counts(index)[:4] == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [2, 1, 1]]
    assert missing_classes(index) == {"train": [], "val": ["a", "b"], "test": ["a"]}
    assert describe_missing_classes(index) == [
        "The val part has no image of: a, b (too few images to divide).",
        "The test part has no image of: a (too few images to divide).",
    ]


def test_a_large_class_that_a_given_part_lacks_is_not_called_small() -> None:
    index = make_index(["a"] * 40 + ["b"] * 40)
    parts = ["train"] * 30 + ["val"] * 5 + ["test"] * 5 + ["train"] * 30 + ["test"] * 10
    given = replace(index, table=index.table.assign(split=parts))
    assert describe_missing_classes(given) == ["The val part has no image of: b."]


def test_an_empty_part_is_said_where_it_was_asked_for() -> None:
    index = split(make_index(list("aabb")))
    assert describe_missing_classes(index) == []
    (said,) = describe_missing_classes(index, ratios=(0.7, 0.15, 0.15))
    assert said.startswith("The val part is empty")
    assert describe_missing_classes(index, ratios=(0.7, 0.0, 0.3)) == []


def test_of_very_many_classes_only_some_are_named() -> None:
    (said,) = describe_missing_classes(
        split(make_index([f"c{i // 2:03d}" for i in range(100)] + ["z"] * 9))
    )
    assert said.endswith("c018, c019 and 30 more (too few images to divide).")


def test_a_test_share_of_zero_leaves_test_empty() -> None:
    index = split(make_index(["a"] * 10 + ["b"] * 2), ratios=(0.8, 0.2, 0.0))
    assert class_counts_by_part(index)["test"].sum() == 0
    assert counts(index)[1] == [1, 1, 0]


@pytest.mark.parametrize(
    "ratios",
    [
        (0.7, 0.2, 0.2),
        (1.2, -0.1, -0.1),
        (0.0, 0.5, 0.5),
        (float("nan"), 0.5, 0.5),
        (0.5, 0.5),
        (0.5, 0.2, 0.1, 0.1, 0.1),
    ],
)
def test_impossible_ratios_are_refused(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidRatios, match="expected three numbers"):
        split(make_index(["a"] * 10), ratios=ratios)


@pytest.mark.parametrize(
    "ratios", [(0.6, 0.15, 0.15, 0.2), (0.6, 0.2, 0.3, -0.1), (0.0, 0.3, 0.3, 0.4)]
)
def test_impossible_ratios_of_four_parts_are_refused(ratios: tuple[float, ...]) -> None:
    with pytest.raises(InvalidRatios, match="expected four numbers for train, val, test and cal"):
        split(make_index(["a"] * 10), ratios=ratios)


def test_a_fourth_ratio_gives_a_part_for_calibration() -> None:
    index = split(make_index(["a"] * 200 + ["b"] * 100), ratios=(0.6, 0.15, 0.15, 0.1))
    assert list(class_counts_by_part(index).columns) == ["train", "val", "test", "cal"]
    assert counts(index) == [[120, 30, 30, 20], [60, 15, 15, 10]]


def test_a_fourth_ratio_of_zero_changes_nothing() -> None:
    index = make_index(["a"] * 31 + ["b"] * 17)
    assert part_of(split(index, ratios=(0.7, 0.15, 0.15, 0.0))) == part_of(split(index))


def test_small_classes_fill_the_calibration_part_last() -> None:
    index = split(make_index(list("abbcccdddd") + ["e"] * 100), ratios=(0.55, 0.15, 0.15, 0.15))
    assert counts(index)[:4] == [[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert (
        "The cal part has no image of: a, b, c (too few images to divide)."
        in describe_missing_classes(index)
    )


def test_a_given_split_keeps_its_calibration_part_and_lacks_none_unasked() -> None:
    given = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    index = make_index(["a", "b"] * 50, splits=given)
    assert part_of(split(index)) == part_of(index)
    cut = split(index, ratios=(0.6, 0.15, 0.15, 0.1))  # asked for: cut from train alone
    assert class_counts_by_part(cut).sum().to_dict() == {
        "train": 54,
        "val": 20,
        "test": 20,
        "cal": 6,
    }
    with_cal = make_index(["a", "b"] * 50, splits=[*given[:90], *["cal"] * 10])
    for ratios in ((0.7, 0.15, 0.15), (0.6, 0.15, 0.15, 0.1)):
        assert part_of(split(with_cal, ratios=ratios)) == part_of(with_cal)


def test_ratios_may_miss_one_by_rounding() -> None:
    split(make_index(["a"] * 10), ratios=(0.7, 0.1, 0.2000000001))


def test_another_seed_gives_another_split_of_the_same_shape() -> None:
    index = make_index(["a"] * 50 + ["b"] * 50)
    first, second = split(index, seed=1), split(index, seed=2)
    assert part_of(first) != part_of(second)
    assert [sorted(row) for row in counts(first)] == [sorted(row) for row in counts(second)]


def test_the_default_split_is_pinned() -> None:
    # Runs of different versions and machines must be tested on the same images.
    index = split(make_index(["a"] * 10 + ["b"] * 10))
    held_out = [path for path, part in part_of(index).items() if part != "train"]
    assert held_out == [
        "a/000000.png",
        "a/000006.png",
        "a/000009.png",
        "b/000011.png",
        "b/000013.png",
        "b/000018.png",
    ]


def test_groups_and_copies_stay_on_one_side() -> None:
    rng = random.Random(0)
    labels = [rng.choice("abc") for _ in range(600)]
    groups = [f"g{rng.randrange(60)}" if rng.random() < 0.7 else "" for _ in range(600)]
    index = make_index(labels, groups)
    paths = list(index.table["path"])
    keep_together = [frozenset(rng.sample(paths, 3)) for _ in range(25)]
    keep_together.append(frozenset([paths[0], "not/in/the/index.png"]))
    done = split(index, keep_together=keep_together)
    parts = part_of(done)
    for _, rows in done.table[done.table["group"] != ""].groupby("group"):
        assert rows["split"].nunique() == 1
    for copies in keep_together:
        assert len({parts[path] for path in copies if path in parts}) == 1
    total = class_counts_by_part(done).sum() / len(done)
    assert np.abs(total.to_numpy() - [0.7, 0.15, 0.15]).max() < 0.02


def test_no_group_can_move_and_no_two_can_change_places_for_the_better() -> None:
    """The distance of the counts from their targets, worked out anew for every alternative."""
    rng = random.Random(3)
    labels, groups = [], []
    for number in range(24):
        size = rng.choice([1, 2, 3, 5, 8, 20])
        labels += [rng.choice("abcd") for _ in range(size)]
        groups += [f"g{number}"] * size
    table = split(make_index(labels, groups)).table
    held_GC = np.zeros((24, 4))  # G groups, C classes
    for label, group in zip(table["label"], table["group"], strict=True):
        held_GC[int(group[1:]), "abcd".index(label)] += 1
    order = ["train", "val", "test"]
    first = table.drop_duplicates("group").set_index("group")["split"]
    chosen = [order.index(first[f"g{number}"]) for number in range(24)]

    def badness(parts: list[int]) -> float:
        in_part = np.eye(3)[parts].T @ held_GC  # (3, C)
        off = in_part - np.outer([0.7, 0.15, 0.15], held_GC.sum(0))
        return float((off**2).sum() + 0.1 * (off.sum(1) ** 2).sum())  # totals weigh a tenth

    best = badness(chosen)
    for group in range(24):
        for part in range(3):
            assert badness([*chosen[:group], part, *chosen[group + 1 :]]) >= best - 1e-6
        for other in range(group):
            swapped = list(chosen)
            swapped[group], swapped[other] = chosen[other], chosen[group]
            assert badness(swapped) >= best - 1e-6


def test_a_given_split_is_kept() -> None:
    splits = ["train", "val", "test"] * 10
    index = make_index(["a", "b"] * 15, splits=splits)
    pd.testing.assert_frame_equal(split(index).table, index.table)


@pytest.mark.parametrize(("given", "cut"), [("test", "val"), ("val", "test")])
def test_a_missing_part_is_cut_from_train_alone(given: str, cut: str) -> None:
    groups = [f"g{i // 5}" for i in range(200)]
    before = make_index(["a"] * 100 + ["b"] * 100, groups, (["train"] * 80 + [given] * 20) * 2)
    after = split(before, ratios=(0.7, 0.25, 0.05) if cut == "val" else (0.7, 0.05, 0.25))
    assert (after.table["split"] == given).tolist() == (before.table["split"] == given).tolist()
    assert class_counts_by_part(after)[cut].tolist() == [20, 20]  # a quarter of 80
    cut_or_train = after.table[after.table["split"].isin(["train", cut])]
    assert cut_or_train.groupby("group")["split"].nunique().max() == 1


def test_only_train_given_is_no_split_yet() -> None:
    index = split(make_index(["a"] * 100, splits=["train"] * 100))
    assert counts(index) == [[70, 15, 15]]


@pytest.mark.parametrize(
    ("splits", "message"),
    [(["train", "test", ""], "filled for 2 of 3"), (["test"] * 3, "no train")],
)
def test_splits_with_gaps_are_refused(splits: list[str], message: str) -> None:
    with pytest.raises(InvalidTable, match=message):
        split(make_index(["a"] * 3, splits=splits))


def test_copies_and_groups_count_once() -> None:
    index = make_index(list("aaaabb"), ["g", "g", "", "", "", ""])
    paths = list(index.table["path"])
    assert atomic_group_counts(index) == {"a": 3, "b": 2}
    assert atomic_group_counts(index, keep_together=[frozenset(paths[1:3])]) == {"a": 2, "b": 2}


@pytest.mark.timeout(30)
def test_ten_thousand_classes_of_two_are_split_in_time() -> None:
    index = split(make_index([f"c{i // 2}" for i in range(20_000)]))
    assert class_counts_by_part(index).sum().to_dict() == {
        "train": 10_000,
        "val": 0,
        "test": 10_000,
    }
