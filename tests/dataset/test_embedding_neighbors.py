"""Outliers and neighbours on embeddings; scikit-learn's search is the oracle."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from holotype.dataset.auditing import embedding_neighbors as module
from holotype.dataset.auditing.embedding_neighbors import (
    find_conflicting_neighbours,
    find_outliers,
    nearest_neighbours,
)
from holotype.dataset.index import COLUMNS, Index

Floats = NDArray[np.float32]


def embeddings(count: int = 200, size: int = 16, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(count, size)) * 0.3
    cloud[:, 0] += 1
    return cloud.astype(np.float32)


def names(count: int) -> list[str]:
    return [f"{n:04d}.png" for n in range(count)]


def index_of(labels: list[str], parts: list[str]) -> Index:
    table = pd.DataFrame({"path": names(len(labels)), "label": labels, "split": parts})
    empty: dict[str, Any] = {"str": "", "int64": 0, "float64": 1.0}
    for column, kind in COLUMNS.items():
        if column not in table:
            table[column] = empty[kind]
    return Index(Path(), table[list(COLUMNS)].astype(COLUMNS), tuple(sorted(set(labels))))


def test_neighbours_are_those_of_an_exhaustive_search(monkeypatch: pytest.MonkeyPatch) -> None:
    found_at_once = nearest_neighbours(embeddings(), names(200), [])
    monkeypatch.setattr(module, "_BLOCK_VALUES", 200 * 7)  # seven rows a block
    found = nearest_neighbours(embeddings(), names(200), [])
    oracle = NearestNeighbors(n_neighbors=11, metric="cosine").fit(embeddings())
    distance, rows = oracle.kneighbors(embeddings())
    assert np.array_equal(found.rows_NK, rows[:, 1:])
    assert np.allclose(1 - found.similarity_NK, distance[:, 1:], atol=1e-5)
    assert np.array_equal(found.rows_NK, found_at_once.rows_NK)


def test_an_image_like_no_other_is_an_outlier_and_nothing_else_is() -> None:
    cloud = embeddings()
    assert find_outliers(nearest_neighbours(cloud, names(200), []), names(200)) == []
    cloud[17] = -cloud[17] * 2  # the other side of the sphere
    (found,) = find_outliers(nearest_neighbours(cloud, names(200), []), names(200))
    assert found.path == "0017.png"
    assert found.distance > 2 * found.usual
    assert repr(found.nearest) in found.evidence


def test_a_copy_does_not_make_an_outlier_any_less_lonely() -> None:
    cloud = embeddings()
    cloud[17] = cloud[18] = -cloud[17] * 2
    copies = [frozenset({"0017.png", "0018.png"})]
    found = find_outliers(nearest_neighbours(cloud, names(200), copies), names(200))
    assert {outlier.path for outlier in found} == {"0017.png", "0018.png"}
    assert "0018.png" not in {o.nearest for o in found if o.path == "0017.png"}


def test_the_nearest_across_labels_and_parts_are_named_and_copies_are_not() -> None:
    cloud = embeddings(40)
    twins = {0: 1, 10: 11, 20: 21, 30: 31}
    for number, (one, other) in enumerate(twins.items()):
        cloud[other] = cloud[one]
        cloud[other, 1] += 0.01 * (number + 1)
    labels = ["a"] * 40
    labels[1] = labels[31] = "b"
    parts = ["train"] * 40
    parts[11] = "test"
    copies = [frozenset({"0030.png", "0031.png"})]
    index = index_of(labels, parts)
    found = find_conflicting_neighbours(nearest_neighbours(cloud, names(40), copies), index)
    first, second = found  # and no other: what is merely nearest is not named
    assert (first.first, first.second, first.labels) == ("0000.png", "0001.png", ("a", "b"))
    assert (second.first, second.second) == ("0010.png", "0011.png")
    assert second.parts == ("train", "test")
    assert first.similarity > second.similarity


def test_images_that_are_all_copies_have_no_neighbours() -> None:
    index = index_of(["a", "b"], ["", ""])
    copies = [frozenset(names(2))]
    found = nearest_neighbours(embeddings(2), names(2), copies)
    assert find_conflicting_neighbours(found, index) == []
    assert find_outliers(found, names(2)) == []


def test_one_image_and_none_are_no_obstacle() -> None:
    one = index_of(["a"], [""])
    assert find_conflicting_neighbours(nearest_neighbours(embeddings(1), names(1), []), one) == []
    none = replace(one, table=one.table.iloc[:0])
    assert find_conflicting_neighbours(nearest_neighbours(embeddings(0), [], []), none) == []
