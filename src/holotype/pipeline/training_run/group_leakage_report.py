"""The accuracy that a split without regard to groups would claim, beside that of one with it.

The features are those of the frozen network, cached by training, and the head is a linear one, so
the two figures differ by the assignment of images to folds alone.

Shape suffixes: N images.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.evaluation.group_leakage import GroupLeakage, group_leakage
from holotype.evaluation.intervals import SamplingUnits
from holotype.pipeline.training_run.training_job import TrainingJob
from holotype.training.features.frozen_features import cache_features
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.heads.cross_val_predict import out_of_fold_predictions
from holotype.training.heads.training_data import TrainingData

C_VALUES = (0.001, 0.01, 0.1)
FOLDS = 5
MAX_IMAGES = 5000  # more only cost time: whole groups are drawn, and the report says how many


def measure_group_leakage(job: TrainingJob, index: Index) -> GroupLeakage | None:
    """Both accuracies on the images outside the test part.

    Returns:
        None where no group holds two images, where there are fewer than two groups to hold out,
        where without one of them no two classes are left to learn from, or where the network has
        random weights, whose features say little.
    """
    table = index.table[~index.table["split"].isin(["test", "cal"])].reset_index(drop=True)
    index = replace(index, table=table)
    groups = table["group"][table["group"] != ""]
    if groups.nunique() < 2 or groups.nunique() == len(groups):
        return None
    index = sample_groups(index, job.recipe.seed)
    # Where an export is still to be made, it is proved on training images.
    index = replace(index, table=index.table.assign(split="train"))
    pretrained = PretrainedBackbone(job.recipe, index, job.progress)
    if pretrained.weights.kind == "none" and not pretrained.is_descriptor:
        return None
    with job.progress.bar("comparing splits with and without groups") as update:
        kept = cache_features(
            pretrained.feature_extractor(EMBEDDING, job.runtime.device),
            job.recipe.preprocessing, index, on_progress=update,
        )  # fmt: skip
    found = compare_with_and_without_groups(
        index, kept.first_view(), job.findings.duplicate_clusters, job.recipe.seed
    )
    return found if found.num_images else None


def sample_groups(index: Index, seed: int) -> Index:
    """All images, or those of groups drawn at random until there are enough."""
    if len(index) <= MAX_IMAGES:
        return index
    names = np.array([group or f"\0{row}" for row, group in enumerate(index.table["group"])])
    order = np.random.default_rng(seed).permutation(np.unique(names))
    place = {name: n for n, name in enumerate(order)}
    places_N = np.array([place[name] for name in names])
    last = np.sort(places_N)[MAX_IMAGES - 1]
    return replace(index, table=index.table[places_N <= last].reset_index(drop=True))


def compare_with_and_without_groups(
    index: Index, features_ND: NDArray[np.float32], copies: Sequence[frozenset[str]], seed: int
) -> GroupLeakage:
    """The two accuracies from features; copies of one image share a fold in both."""
    targets_N = index.targets_N
    weights_N = index.table["weight"].to_numpy(np.float64)

    def predict_out_of_fold(grouped: Index) -> NDArray[np.float64]:
        data = TrainingData(
            features_ND, targets_N, weights_N, atomic_group_names(grouped.table, copies),
            num_classes=len(index.classes),
        )  # fmt: skip
        found = out_of_fold_predictions(data, Cs=C_VALUES, folds=FOLDS, seed=seed)
        return found.probabilities_NC

    random_split_NC = predict_out_of_fold(replace(index, table=index.table.assign(group="")))
    grouped_split_NC = predict_out_of_fold(index)
    units = SamplingUnits.of_groups(index.table["group"].tolist())
    return group_leakage(random_split_NC, grouped_split_NC, targets_N, weights_N, units)
