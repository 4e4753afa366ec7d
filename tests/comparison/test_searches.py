"""Searches with several embeddings of the same images: scores, differences, what is left out."""

import numpy as np
import pytest

from holotype.comparison.retrieval.search_comparison import SearchedImages, compare_searches


def images(encounters: list[int] | None = None) -> SearchedImages:
    """Eight individuals of three images each; the third of each is searched with."""
    names = tuple(f"t{n}" for n in range(8) for _ in range(3))
    numbers = np.full(24, -1) if encounters is None else np.array(encounters)
    return SearchedImages(names, numbers, np.arange(24) % 3 == 2)


def embeddings(wrong: int) -> np.ndarray:
    """Each individual has a direction; of some the image that is searched with has another's."""
    directions = np.repeat(np.eye(8), 3, axis=0)
    directions[2 : 3 * wrong : 3] = np.roll(directions[2 : 3 * wrong : 3], 1, axis=0)
    return (directions + np.arange(24)[:, None] * 1e-4).astype(np.float32)


def test_the_better_embedding_is_first_and_differences_are_paired() -> None:
    found = compare_searches({"bad": embeddings(4), "good": embeddings(0)}, images(), "all")
    assert found is not None
    assert found.names == ("good", "bad")
    assert (found.num_queries, found.num_individuals) == (8, 8)
    good, bad = found.scores["rank_1"]
    assert (good.value, bad.value) == (1, 0.5)
    assert found.differences["rank_1"][0] is None
    difference = found.differences["rank_1"][1]
    assert difference is not None
    assert difference.value == pytest.approx(-0.5)
    assert difference.low < -0.5 < difference.high < 0  # by individual, four of eight differ
    assert found.rows()[1][0] == "bad"


def test_the_same_embedding_differs_by_nothing() -> None:
    found = compare_searches({"a": embeddings(4), "b": embeddings(4)}, images(), "all")
    assert found is not None
    difference = found.differences["map"][1]
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_images_of_one_encounter_do_not_find_each_other() -> None:
    together = [n // 3 for n in range(24)]
    assert compare_searches({"a": embeddings(0)}, images(together), "all") is None
    apart = [n // 3 if n % 3 else 100 + n for n in range(24)]  # the first image is of another
    found = compare_searches({"a": embeddings(0)}, images(apart), "all")
    assert found is not None
    assert found.num_queries == 8
