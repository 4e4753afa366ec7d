"""Arrays with one row per pair of images: selected, joined, numbered and ranked together.

Shape suffixes: P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.resize_blur_dct import Floats


@dataclass(frozen=True, eq=False)
class PairColumns:
    """Base of dataclasses whose fields are all arrays with one row per pair."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def select(self, rows: NDArray[Any]) -> Self:
        """Copy the given pairs, by row numbers or a mask."""
        return replace(self, **{name: column[rows] for name, column in vars(self).items()})

    @classmethod
    def concat(cls, several: Sequence[Self]) -> Self:
        columns = {n: np.concatenate([vars(one)[n] for one in several]) for n in vars(several[0])}
        return replace(several[0], **columns)

    def where(self, condition_P: NDArray[np.bool_], other: Self) -> Self:
        """These pairs where the condition holds, and those of `other` elsewhere."""
        columns = {
            name: np.where(condition_P.reshape(-1, *[1] * (mine.ndim - 1)), mine, theirs)
            for (name, mine), theirs in zip(vars(self).items(), vars(other).values(), strict=True)
        }
        return replace(self, **columns)


def pair_ids(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each unordered pair of rows, since one column sorts faster than two."""
    return np.minimum(one, other) << 32 | np.maximum(one, other)


def first_of_each(groups: NDArray[np.int64], *keys: NDArray[Any]) -> NDArray[np.int64]:
    """For every group the index of its least element by the keys, the primary key first."""
    order = np.lexsort((*reversed(keys), groups))
    return order[_is_first(groups[order])]


def rank_within_groups(groups: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """The rank of every value within its group, 0 for the smallest."""
    order = np.lexsort((values, groups))
    places = np.arange(len(order))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = places - np.maximum.accumulate(np.where(_is_first(groups[order]), places, 0))
    return ranks


def _is_first(sorted_groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    is_first = np.ones(len(sorted_groups), bool)
    is_first[1:] = np.diff(sorted_groups) != 0
    return is_first
