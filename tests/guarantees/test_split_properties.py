"""Properties of splits and folds of any index with groups and copies.

They are complete and disjoint, no group and no copies are separated, the order of rows does not
matter, and no move of one unit improves a split: missing classes first, then distances.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Hashable

import networkx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holotype.dataset.index import Index
from holotype.dataset.splitting.leakage import resolve_leaks
from holotype.dataset.splitting.splitter import folds, missing_classes, split
from tests.dataset.indices import fold_of, make_index, part_of

Together = list[frozenset[str]]
Data = tuple[Index, Together]
RATIOS = {  # with and without a part for calibration
    (0.7, 0.15, 0.15): {"train", "val", "test"},
    (0.6, 0.15, 0.15, 0.1): {"train", "val", "test", "cal"},
}


@st.composite
def data_sets(draw: st.DrawFn, parts: tuple[str, ...] = ("",)) -> Data:
    labels = draw(st.lists(st.sampled_from("abcdé"), min_size=1, max_size=60))
    group_names = st.sampled_from(["", "", "g1", "g2", "g3", "g4"])
    groups = draw(st.lists(group_names, min_size=len(labels), max_size=len(labels)))
    splits = draw(st.lists(st.sampled_from(parts), min_size=len(labels), max_size=len(labels)))
    index = make_index(labels, groups, splits)
    images = st.sampled_from(list(index.table["path"]))
    keep_together = draw(st.lists(st.frozensets(images, min_size=1, max_size=4), max_size=6))
    return index, keep_together


def connected_components(index: Index, keep_together: Together) -> list[set[str]]:
    """Images that must not be separated, by networkx."""
    graph = networkx.Graph()
    graph.add_nodes_from(index.table["path"])
    first: dict[str, str] = {}
    for path, group in zip(index.table["path"], index.table["group"], strict=True):
        if group:
            graph.add_edge(first.setdefault(group, path), path)
    for copies in keep_together:
        graph.add_edges_from((min(copies), path) for path in copies)
    return list(networkx.connected_components(graph))


def shuffled(data: Data, shuffle: random.Random) -> Data:
    index, keep_together = data
    rows = list(range(len(index)))
    shuffle.shuffle(rows)
    others = [frozenset(sorted(copies, reverse=True)) for copies in keep_together]
    shuffle.shuffle(others)
    return Index(index.root, index.table.iloc[rows].reset_index(drop=True), index.classes), others


def check(
    data: Data, shuffle: random.Random, place: Callable[[Index, Together], dict[str, Hashable]]
) -> dict[str, Hashable]:
    """Complete and disjoint (one place for each image), units whole, independent of order."""
    index, keep_together = data
    places = place(index, keep_together)
    assert set(places) == set(index.table["path"])
    for unit in connected_components(index, keep_together):
        assert len({places[path] for path in unit}) == 1
    assert place(*shuffled(data, shuffle)) == places
    return places


@settings(max_examples=120, deadline=None)
@given(data_sets(), st.randoms(), st.integers(0, 1000))
def test_any_split_is_complete_keeps_units_whole_and_ignores_order(
    data: Data, shuffle: random.Random, seed: int
) -> None:
    for ratios, parts in RATIOS.items():

        def place(
            index: Index, keep_together: Together, ratios: tuple[float, ...] = ratios
        ) -> dict[str, Hashable]:
            return dict(
                part_of(split(index, ratios=ratios, seed=seed, keep_together=keep_together))
            )

        places = check(data, shuffle, place)
        assert set(places.values()) <= parts
        assert "train" in places.values()


@settings(max_examples=120, deadline=None)
@given(data_sets(), st.randoms(), st.integers(0, 1000), st.integers(2, 6))
def test_any_folds_are_complete_keep_units_whole_and_ignore_order(
    data: Data, shuffle: random.Random, seed: int, num_folds: int
) -> None:
    assume(len(connected_components(*data)) >= num_folds)
    places = check(
        data, shuffle, lambda i, t: dict(fold_of(folds(i, num_folds, seed=seed, keep_together=t)))
    )
    assert set(places.values()) == set(range(num_folds))  # none of them is empty


@settings(max_examples=120, deadline=None)
@given(data_sets(("train", "val", "test")), st.randoms())
def test_any_repaired_split_is_complete_keeps_units_whole_and_ignores_order(
    data: Data, shuffle: random.Random
) -> None:
    before = part_of(data[0])
    places = check(
        data, shuffle,
        lambda i, t: dict(part_of(resolve_leaks(i, on_leak="repair", keep_together=t)[0])),
    )  # fmt: skip
    for unit in connected_components(*data):
        whole = len({before[path] for path in unit}) == 1
        assert all(places[path] == (before[path] if whole else "train") for path in unit)


@settings(max_examples=100, deadline=None)
@given(data_sets(), st.integers(0, 1000))
def test_small_classes_fill_train_then_test_then_val_then_cal(data: Data, seed: int) -> None:
    """Where every unit is of one class, a class of n units reaches the first n parts."""
    index, _ = data
    table = index.table.copy()
    pairs = zip(table["group"], table["label"], strict=True)
    table["group"] = [group and f"{group} {label}" for group, label in pairs]
    index = Index(index.root, table, index.classes)
    missing = missing_classes(split(index, ratios=(0.6, 0.15, 0.15, 0.1), seed=seed))
    units: dict[str, int] = defaultdict(int)
    label_of = dict(zip(table["path"], table["label"], strict=True))
    for unit in connected_components(index, []):
        units[label_of[min(unit)]] += 1
    assert missing["train"] == []
    assert missing["test"] == sorted(name for name, count in units.items() if count < 2)
    assert missing["val"] == sorted(name for name, count in units.items() if count < 3)
    if "cal" in missing:  # no unit is left for it where there are few
        assert missing["cal"] == sorted(name for name, count in units.items() if count < 4)
    plain = missing_classes(split(index, seed=seed))
    assert plain == {part: missing[part] for part in ("train", "val", "test")}


@settings(max_examples=60, deadline=None)
@given(data_sets(), st.integers(0, 1000))
def test_no_move_of_a_single_unit_improves_a_split(data: Data, seed: int) -> None:
    index, keep_together = data
    for ratios in RATIOS:
        _check_no_move_helps(index, keep_together, ratios, seed)


def _check_no_move_helps(
    index: Index, keep_together: Together, ratios: tuple[float, ...], seed: int
) -> None:
    places = part_of(split(index, ratios=ratios, seed=seed, keep_together=keep_together))
    label_of = dict(zip(index.table["path"], index.table["label"], strict=True))
    units = connected_components(index, keep_together)
    in_units: dict[str, int] = defaultdict(int)
    for unit in units:
        for label in {label_of[path] for path in unit}:
            in_units[label] += 1
    named = dict(zip(("train", "val", "test", "cal"), ratios, strict=False))
    order = ("train", "test", "val", "cal")  # of need
    shares = {part: named[part] for part in order if part in named}

    def badness(chosen: dict[str, str]) -> tuple[float, ...]:
        held: dict[tuple[str, str], int] = defaultdict(int)
        for path, part in chosen.items():
            held[label_of[path], part] += 1
        absent = [
            sum(not held[label, part] for label in index.classes if in_units[label] > place)
            for place, part in enumerate(shares)
        ]
        whole = {label: sum(held[label, part] for part in shares) for label in index.classes}
        off = {
            (label, part): held[label, part] - share * whole[label]
            for label in index.classes
            for part, share in shares.items()
        }
        totals = [sum(off[label, part] for label in index.classes) for part in shares]
        distance = sum(x * x for x in off.values()) + 0.1 * sum(x * x for x in totals)
        return (*absent, round(distance, 4))

    best = badness(places)
    for unit in units:
        for part in shares:
            assert badness(places | dict.fromkeys(unit, part)) >= best
