"""The weight of each class in training: class weights, balanced sampling, or both.

Shape suffixes: N images, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage, Stage, WhiteningStage


def class_weighting(recipe: Recipe, stage: Stage, index: Index) -> NDArray[np.float64] | None:
    """The factor of every class in a stage (C).

    Args:
        index: with its splits.

    Returns:
        Factors above 0, with a weighted mean of 1 over the training images; 1 for a class without
        any. None where the stage weights no class.
    """
    if isinstance(stage, WhiteningStage):  # classes are directions there, whatever they weigh
        return None
    if isinstance(stage, GradientStage) and stage.loss == "triplet":
        return None
    balanced_sampling = isinstance(stage, GradientStage) and stage.sampling == "balanced"
    if recipe.class_weights == "none" and not balanced_sampling:
        return None
    training, num_classes = index.part("train"), len(index.classes)
    targets_N = training.targets_N
    weights_N = training.table["weight"].to_numpy(np.float64)
    factor_C = np.ones(num_classes)
    if recipe.class_weights == "balanced":
        factor_C *= inverse_frequency(targets_N, weights_N, num_classes)
    if balanced_sampling:  # by the number of its images, whatever they weigh
        factor_C *= inverse_frequency(targets_N, np.ones(len(targets_N)), num_classes)
    mean = float(weights_N @ factor_C[targets_N]) / float(weights_N.sum())
    has_images_C = np.bincount(targets_N, minlength=num_classes) > 0
    return np.where(has_images_C, factor_C / mean, 1.0)


def inverse_frequency(
    targets_N: NDArray[np.int64], weights_N: NDArray[np.float64], num_classes: int
) -> NDArray[np.float64]:
    """The factor of each class (C) that gives all classes the same total weight.

    The total over all images does not change; a class of weight 0 gets 1.
    """
    of_class_C = np.bincount(targets_N, weights_N, minlength=num_classes)
    share = weights_N.sum() / np.count_nonzero(of_class_C)
    factor_C = np.ones(num_classes)
    np.divide(share, of_class_C, out=factor_C, where=of_class_C > 0)
    return factor_C
