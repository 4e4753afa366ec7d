"""Encounters within an index: images that may not find each other in a search.

Shape suffixes: N images.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index


def encounter_numbers(index: Index) -> NDArray[np.int64]:
    """The number of each image's group, which is an encounter, or -1 (N).

    Images of one encounter are near copies, and finding one by another says little. Where the group
    of an image holds all images of its class, it is no encounter: nothing else could be found.
    """
    table = index.table
    groups_of_class = table[table["group"] != ""].groupby("label")["group"].nunique()
    several = set(groups_of_class.index[groups_of_class > 1])
    numbers: dict[str, int] = {}
    return np.array(
        [
            numbers.setdefault(group, len(numbers)) if group and label in several else -1
            for group, label in zip(table["group"], table["label"], strict=True)
        ],
        np.int64,
    )


def has_matches(
    targets_N: NDArray[np.int64],
    encounters_N: NDArray[np.int64] | None,
    targets_of_others: NDArray[np.int64],
) -> bool:
    """Whether any image has another of its class outside of its encounter.

    Args:
        targets_N: class numbers of the images that search, and find each other.
        encounters_N: from `encounter_numbers`; None without encounters.
        targets_of_others: class numbers of other images that they find, of other encounters.
    """
    if np.isin(targets_N, targets_of_others).any():
        return True
    numbers_N = np.full(len(targets_N), -1) if encounters_N is None else encounters_N
    # An image without an encounter may be found by any other.
    own_N = np.where(numbers_N < 0, -1 - np.arange(len(numbers_N)), numbers_N)
    return len(np.unique(np.stack([targets_N, own_N]), axis=1).T) > len(np.unique(targets_N))
