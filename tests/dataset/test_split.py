import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holotype.dataset.index import COLUMNS, Index
from holotype.dataset.split import missing_classes, proportions, separate_counts, split
from holotype.errors import InvalidRatios, InvalidTable


def make_index(
    labels: list[str], groups: list[str] | None = None, splits: list[str] | None = None
) -> Index:
    count = len(labels)
    table = pd.DataFrame(
        {
            "path": [f"{label}/{i:06d}.png" for i, label in enumerate(labels)],
            "label": labels,
            "group": groups or [""] * count,
            "split": splits or [""] * count,
            "fold": -1,
            "weight": 1.0,
            "sha256": "",
            "width": 1,
            "height": 1,
            "format": "PNG",
        }
    ).astype(COLUMNS)
    table = table.sort_values("path", ignore_index=True)
    return Index(Path("/data"), table, tuple(sorted(set(labels))))


def part_of(index: Index) -> dict[str, str]:
    return dict(zip(index.table["path"], index.table["split"], strict=True))


def counts(index: Index) -> list[list[int]]:
    return [[int(n) for n in row] for row in proportions(index).to_numpy()]


def test_every_class_is_split_as_the_ratios_say() -> None:
    index = split(make_index(["a"] * 200 + ["b"] * 100 + ["c"] * 20))
    assert counts(index) == [[140, 30, 30], [70, 15, 15], [14, 3, 3]]


def test_totals_follow_the_ratios_where_classes_cannot() -> None:
    index = split(make_index([f"c{i % 40}" for i in range(400)]))  # 10 each: 7, 1.5, 1.5
    assert proportions(index).sum().to_dict() == {"train": 280, "val": 60, "test": 60}
    assert set(map(tuple, counts(index))) <= {(7, 1, 2), (7, 2, 1)}


def test_small_classes_fill_train_then_test_then_val() -> None:
    index = split(make_index(list("abbcccdddd") + ["e"] * 100))
    assert counts(index)[:4] == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [2, 1, 1]]
    assert missing_classes(index) == {"train": [], "val": ["a", "b"], "test": ["a"]}


def test_a_test_share_of_zero_leaves_test_empty() -> None:
    index = split(make_index(["a"] * 10 + ["b"] * 2), ratios=(0.8, 0.2, 0.0))
    assert proportions(index)["test"].sum() == 0
    assert counts(index)[1] == [1, 1, 0]


@pytest.mark.parametrize(
    "ratios",
    [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (float("nan"), 0.5, 0.5), (0.5, 0.5)],
)
def test_impossible_ratios_are_refused(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidRatios, match="expected three numbers"):
        split(make_index(["a"] * 10), ratios=ratios)


def test_ratios_may_miss_one_by_rounding() -> None:
    split(make_index(["a"] * 10), ratios=(0.7, 0.1, 0.2000000001))


def test_another_seed_gives_another_split_of_the_same_shape() -> None:
    index = make_index(["a"] * 50 + ["b"] * 50)
    first, second = split(index, seed=1), split(index, seed=2)
    assert part_of(first) != part_of(second)
    assert [sorted(row) for row in counts(first)] == [sorted(row) for row in counts(second)]


def test_the_default_split_is_pinned() -> None:
    # Runs of different versions and machines must be tested on the same pictures.
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
    together = [frozenset(rng.sample(paths, 3)) for _ in range(25)]
    together.append(frozenset([paths[0], "not/in/the/index.png"]))
    done = split(index, together=together)
    parts = part_of(done)
    for _, rows in done.table[done.table["group"] != ""].groupby("group"):
        assert rows["split"].nunique() == 1
    for copies in together:
        assert len({parts[path] for path in copies if path in parts}) == 1
    total = proportions(done).sum() / len(done)
    assert np.abs(total.to_numpy() - [0.7, 0.15, 0.15]).max() < 0.02


def test_stratification_of_groups_is_at_a_local_optimum() -> None:
    """No group can move to another part and bring the counts nearer to their targets."""
    rng = random.Random(3)
    sizes = [rng.choice([1, 2, 3, 5, 8, 20]) for _ in range(40)]
    labels, groups = [], []
    for number, size in enumerate(sizes):
        labels += [rng.choice("abcd") for _ in range(size)]
        groups += [f"g{number}"] * size
    index = split(make_index(labels, groups))
    targets = np.array([0.7, 0.15, 0.15])

    def badness(table: pd.DataFrame) -> float:
        by_class = pd.crosstab(table["label"], table["split"]).to_numpy(float)
        by_class = np.vstack([by_class, by_class.sum(0) * 0.1**0.5])  # totals weigh a tenth
        return float(((by_class - by_class.sum(1, keepdims=True) * order) ** 2).sum())

    order = targets[[["train", "val", "test"].index(p) for p in ["test", "train", "val"]]]
    best = badness(index.table)
    for group in set(groups):
        for part in ("train", "val", "test"):
            moved = index.table.copy()
            moved.loc[moved["group"] == group, "split"] = part
            assert badness(moved) >= best - 1e-6


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
    assert proportions(after)[cut].tolist() == [20, 20]  # a quarter of 80
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
    assert separate_counts(index) == {"a": 3, "b": 2}
    assert separate_counts(index, together=[frozenset(paths[1:3])]) == {"a": 2, "b": 2}


@pytest.mark.timeout(30)
def test_ten_thousand_classes_of_two_are_split_in_time() -> None:
    index = split(make_index([f"c{i // 2}" for i in range(20_000)]))
    assert proportions(index).sum().to_dict() == {"train": 10_000, "val": 0, "test": 10_000}


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[Index, list[frozenset[str]], int]:
    labels = draw(st.lists(st.sampled_from("abcdé"), min_size=1, max_size=60))
    group_names = st.sampled_from(["", "", "g1", "g2", "g3", "g4"])
    groups = draw(st.lists(group_names, min_size=len(labels), max_size=len(labels)))
    index = make_index(labels, groups)
    pictures = st.sampled_from(list(index.table["path"]))
    together = draw(st.lists(st.frozensets(pictures, min_size=1, max_size=4), max_size=6))
    return index, together, draw(st.integers(0, 1000))


@settings(max_examples=100, deadline=None)
@given(data_sets(), st.randoms())
def test_any_split_is_complete_pure_and_blind_to_order(
    data: tuple[Index, list[frozenset[str]], int], shuffle: random.Random
) -> None:
    index, together, seed = data
    done = split(index, seed=seed, together=together)
    parts = part_of(done)
    assert set(parts) == set(index.table["path"])  # complete, and disjoint: one part for each
    assert set(parts.values()) <= {"train", "val", "test"}
    assert "train" in parts.values()
    assert list(done.table["path"]) == list(index.table["path"])
    parts_of_group = defaultdict(set)
    for path, group in zip(index.table["path"], index.table["group"], strict=True):
        if group:
            parts_of_group[group].add(parts[path])
    assert all(len(found) == 1 for found in parts_of_group.values())
    assert all(len({parts[path] for path in copies}) == 1 for copies in together)
    rows = list(range(len(index)))
    shuffle.shuffle(rows)
    shuffled = Index(index.root, index.table.iloc[rows].reset_index(drop=True), index.classes)
    reordered = list(together)
    shuffle.shuffle(reordered)
    assert part_of(split(shuffled, seed=seed, together=reordered)) == parts
