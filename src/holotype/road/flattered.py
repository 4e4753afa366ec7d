"""What a split that ignores the groups would make of the same pictures: seconds of work.

The features are those of the frozen network, kept by training, and the head is the linear one;
so all that differs between the two figures is how the pictures were dealt.

Shape suffixes: N pictures.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holotype.dataset.index import Index
    from holotype.evaluation.flattery import Flattery
    from holotype.road.order import Order

STRENGTHS = (0.001, 0.01, 0.1)
FOLDS = 5
MOST_IMAGES = 5000  # more only cost time: whole groups are drawn, and the report says how many


def flattery_of(order: "Order", index: "Index") -> "Flattery | None":
    """Both accuracies on the pictures outside the test part.

    Returns:
        None where no group holds two pictures, where there are fewer than two groups to hold out,
        or where the network has random weights, whose features say little.
    """
    from holotype.training.features import keep_features
    from holotype.training.start import EMBEDDING, Start

    table = index.table[~index.table["split"].isin(["test", "cal"])].reset_index(drop=True)
    index = replace(index, table=table)
    groups = table["group"][table["group"] != ""]
    if groups.nunique() < 2 or groups.nunique() == len(groups):
        return None
    index = some_groups(index, order.recipe.seed)
    # Where an export is still to be made, it is proved on training pictures.
    index = replace(index, table=index.table.assign(split="train"))
    start = Start(order.recipe, index, order.narrator)
    if start.weights.kind == "none" and not start.is_descriptor:
        return None
    with order.narrator.progress("comparing splits with and without groups") as progress:
        kept = keep_features(
            start.frozen_part(EMBEDDING, order.device), order.recipe.preprocessing, index,
            on_progress=progress,
        )  # fmt: skip
    return compare(index, kept.first_view(), order.findings.copies, order.recipe.seed)


def some_groups(index: "Index", seed: int) -> "Index":
    """All pictures, or those of groups drawn at random until there are enough."""
    if len(index) <= MOST_IMAGES:
        return index
    names = np.array([group or f"\0{row}" for row, group in enumerate(index.table["group"])])
    order = np.random.default_rng(seed).permutation(np.unique(names))
    place = {name: n for n, name in enumerate(order)}
    places_N = np.array([place[name] for name in names])
    last = np.sort(places_N)[MOST_IMAGES - 1]
    return replace(index, table=index.table[places_N <= last].reset_index(drop=True))


def compare(
    index: "Index", features_ND: "NDArray[np.float32]", copies: Sequence[frozenset[str]], seed: int
) -> "Flattery":
    """The two accuracies from features; copies of one picture share a fold in both."""
    from holotype.dataset.dealing import unit_names
    from holotype.evaluation.flattery import flattery
    from holotype.evaluation.intervals import Units
    from holotype.training.out_of_fold import out_of_fold_probabilities

    number = {label: n for n, label in enumerate(index.classes)}
    targets_N = np.array([number[label] for label in index.table["label"]], np.int64)
    weights_N = index.table["weight"].to_numpy(np.float64)

    def judged(dealt: "Index") -> "NDArray[np.float64]":
        return out_of_fold_probabilities(
            features_ND, targets_N, weights_N, unit_names(dealt.table, copies),
            num_classes=len(index.classes), strengths=STRENGTHS, folds=FOLDS, seed=seed,
        )  # fmt: skip

    ignoring_NC = judged(replace(index, table=index.table.assign(group="")))
    keeping_NC = judged(index)
    names = [group or f"\0{row}" for row, group in enumerate(index.table["group"])]
    unit_N = np.unique(names, return_inverse=True)[1].astype(np.int64)
    units = Units(unit_N, int(unit_N.max()) + 1, True)
    return flattery(ignoring_NC, keeping_NC, targets_N, weights_N, units)
