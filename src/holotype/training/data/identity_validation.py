"""Validation of a learnt embedding by individuals that do not train: can it tell new ones apart?

Shape suffixes: N images.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index
from holotype.training.data.loader import LabelledViews, ViewSource
from holotype.training.metric_learning.encounters import encounter_numbers, has_matches

_FEWEST = 2  # classes on either side


class ViewSubset:
    """Some images of a source of views, in an order of their own."""

    def __init__(self, source: ViewSource, rows_N: NDArray[np.int64]) -> None:
        self._source = source
        self._rows_N = rows_N

    def __len__(self) -> int:
        return len(self._rows_N)

    @property
    def batches_ahead(self) -> int:
        return int(getattr(self._source, "batches_ahead", 1))

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        return self._source.batch([int(self._rows_N[image]) for image in images], views)


def select_images(images: LabelledViews, rows_N: NDArray[np.int64]) -> LabelledViews:
    """Some of the images, with what is known of them."""
    encounters_N = images.encounters_N
    return replace(
        images,
        views=ViewSubset(images.views, rows_N),
        targets_N=images.targets_N[rows_N],
        weights_N=images.weights_N[rows_N],
        encounters_N=None if encounters_N is None else encounters_N[rows_N],
    )


def validate_by_identity(
    index: Index, train: LabelledViews, validation: LabelledViews | None, share: float, seed: int
) -> tuple[LabelledViews, LabelledViews | None, str]:
    """What trains, what chooses the epoch by a search, and which images these are, in words.

    A share of the classes does not train, and their training images search among themselves and
    among those that train. Where too few classes would be left, or no image of theirs has another,
    the images of the validation part search instead, whose classes train.

    Args:
        index: split; its groups are encounters, within which nobody searches.
        train: images of the training part.
        validation: images of the validation part; None without any.
        share: of the classes of the training images, in [0, 1).
        seed: of the choice of classes.
    """
    train = replace(train, encounters_N=encounter_numbers(index.part("train")))
    classes = np.unique(train.targets_N)
    count = round(share * len(classes))
    chosen = np.random.default_rng([seed, 1]).permutation(classes)[:count]
    held_out_N = np.isin(train.targets_N, chosen)
    if count >= _FEWEST and len(classes) - count >= _FEWEST:
        rest = select_images(train, np.flatnonzero(~held_out_N))
        searching = select_images(train, np.flatnonzero(held_out_N))
        if has_matches(searching.targets_N, searching.encounters_N, rest.targets_N):
            return rest, searching, f"{count} of {len(classes)} classes do not train and validate"
    if validation is not None:
        # Numbered together: equal numbers are one encounter, in whichever part.
        table = index.table[index.table["split"].isin(["train", "val"])]
        numbers_N = encounter_numbers(replace(index, table=table))
        train = replace(train, encounters_N=numbers_N[table["split"] == "train"])
        validation = replace(validation, encounters_N=numbers_N[table["split"] == "val"])
        if has_matches(validation.targets_N, validation.encounters_N, train.targets_N):
            return train, validation, "the validation part searches; its classes train"
    return train, None, "no validation image has another of its class to be found"
