"""Which mirror images and quarter turns leave the classes of the training images as they are.

A linear head on the embeddings of the pretrained network is cross-validated: fitted on mirrored
and turned images, and judged by the mean of its probabilities over the same ones. A symmetry that
holds lowers the held-out log loss; one that does not, such as turning digits, raises it. It takes
seconds, where a comparison of trainings would take hours.

Shape suffixes: N images, V views, D embedding, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage, LinearStage, Stage
from holotype.training.data.augmentations import ViewTransform
from holotype.training.features.frozen_features import ViewPlan, cache_features
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.heads.logistic_regression import (
    cross_validated_by_C,
    standardisation,
    standardised,
    stratified_folds,
)
from holotype.training.heads.training_data import TrainingData
from holotype.training.training_resources import Runtime

Symmetry = Literal["none", "horizontal", "vertical", "both", "dihedral"]
SYMMETRIES: tuple[Symmetry, ...] = get_args(Symmetry)
MOST_IMAGES = 512  # of which eight views each are embedded
FEWEST_IMAGES = 20  # below which nothing is measured, and left and right are taken to be alike
UNMEASURED: Symmetry = "horizontal"
CS = (0.001, 0.01, 0.1)
FOLDS = 5

# The eight views of a square, by position: first the plain ones turned by 0 to 3 quarters, then the
# same of the mirror image.
EIGHT_VIEWS = tuple(
    ViewTransform(flip_horizontal=mirrored, quarter_turns=turns)
    for mirrored in (False, True)
    for turns in range(4)
)
VIEWS_OF: dict[Symmetry, tuple[int, ...]] = {
    "none": (0,),
    "horizontal": (0, 4),
    "vertical": (0, 6),  # a mirror image that is turned by a half
    "both": (0, 2, 4, 6),
    "dihedral": tuple(range(8)),
}


@dataclass(frozen=True, eq=False)
class SymmetryMeasurement:
    """What cross-validation says of each set of symmetries.

    Attributes:
        losses: set -> held-out log loss of each measured image (N), nan where no fold held it out;
            empty where there were too few images or groups to measure.
        weights_N: of the images.
        groups: images of one group, and copies of one image, share a name; "" for any other.
    """

    losses: Mapping[Symmetry, NDArray[np.float64]]
    weights_N: NDArray[np.float64]
    groups: tuple[str, ...]

    @property
    def best(self) -> Symmetry:
        """The set with the lowest loss, the smaller one of equals."""
        return min(self.losses, key=self.mean_loss, default=UNMEASURED)

    def note(self) -> str:
        """One sentence for the report."""
        if not self.losses and len(self.weights_N) < FEWEST_IMAGES:
            return (
                f"symmetry: auto is {self.best}, since fewer than {FEWEST_IMAGES} training images "
                "are too few to measure it."
            )
        if not self.losses:
            return (
                f"symmetry: auto is {self.best}, since no images can be held out to measure it: "
                "their groups leave no two classes to learn from."
            )
        loss = {name: self.mean_loss(name) for name in self.losses}
        return (
            f"symmetry: auto is {self.best}: of {len(self.weights_N):,} training images, a linear "
            f"head has the held-out log loss {loss[self.best]:.3f} with these mirror images and "
            f"turns, and {loss['none']:.3f} without any."
        )

    def mean_loss(self, symmetry: Symmetry) -> float:
        """The weighted mean over the images that a fold held out."""
        losses_N = self.losses[symmetry]
        known_N = ~np.isnan(losses_N)
        return float(np.average(losses_N[known_N], weights=self.weights_N[known_N]))


def is_to_be_measured(recipe: Recipe) -> bool:
    """Whether a stage leaves the symmetry open."""
    return any(_is_auto(stage) for stage in recipe.stages)


def with_symmetry(recipe: Recipe, symmetry: Symmetry) -> Recipe:
    """The recipe with `auto` replaced in every stage."""
    stages = tuple(_with_known_symmetry(stage, symmetry) for stage in recipe.stages)
    return recipe.model_copy(update={"stages": stages})


def measure_symmetry(pretrained: PretrainedBackbone, runtime: Runtime) -> SymmetryMeasurement:
    """Cross-validate a linear head on up to MOST_IMAGES training images under eight views."""
    index = measured_images(pretrained)
    targets_N, weights_N = index.targets_N, np.array(index.table["weight"], np.float64)
    groups = tuple(atomic_group_names(index.table, pretrained.copies))
    if len(index) < FEWEST_IMAGES or len(np.unique(targets_N)) < 2:
        return SymmetryMeasurement({}, weights_N, groups)
    with runtime.progress.bar("embedding mirrored and turned images") as update:
        features = cache_features(
            pretrained.feature_extractor(EMBEDDING, runtime.device),
            pretrained.recipe.preprocessing,
            index,
            ViewPlan(fixed=EIGHT_VIEWS),
            on_progress=update,
        )
    rows = range(len(index))
    features_NVD = np.stack(
        [features.batch(rows, [view] * len(index)) for view in range(len(EIGHT_VIEWS))], axis=1
    )
    images = TrainingData(features_NVD[:, 0], targets_N, weights_N, groups, len(index.classes))
    losses = {
        symmetry: held_out_losses(
            images, features_NVD[:, list(VIEWS_OF[symmetry])], pretrained.recipe.seed
        )
        for symmetry in SYMMETRIES
    }
    if np.isnan(losses["none"]).all():  # one group holds all images, or every group one class
        losses = {}
    return SymmetryMeasurement(losses, weights_N, groups)


def measured_images(pretrained: PretrainedBackbone) -> Index:
    """Up to MOST_IMAGES training images that count, of all classes in turn, by their hashes."""
    index = pretrained.index.part("train")
    table = index.table[index.table["weight"] > 0].sort_values(["sha256", "path"])
    rank = table.groupby("label").cumcount()
    first = table.assign(rank=rank).sort_values(["rank", "sha256", "path"]).head(MOST_IMAGES)
    chosen = first.drop(columns="rank").sort_values("path").reset_index(drop=True)
    return replace(index, table=chosen)


def held_out_losses(
    images: TrainingData, features_NVD: NDArray[np.float32], seed: int
) -> NDArray[np.float64]:
    """The log loss of each image (N), by the mean over its views of a head that it did not fit.

    nan where no fold could hold the image out. C is the one with the least loss of CS.
    """
    from threadpoolctl import threadpool_limits

    N, V, _ = features_NVD.shape
    data = images.of_views(features_NVD)
    splits = stratified_folds(data.targets_N, data.groups, FOLDS, seed)
    standard = standardised(data, *standardisation(data.features_ND))
    with threadpool_limits(limits=1):  # as in fit_linear_head: a second thread is waited for
        tried = list(cross_validated_by_C(standard, splits, CS))
    if not tried:
        return np.full(N, np.nan)
    _, best_NVC, _ = min(tried, key=lambda one: one[2])
    mean_NC = best_NVC.reshape(N, V, images.num_classes).mean(axis=1)
    losses_N: NDArray[np.float64] = -np.log(
        np.maximum(mean_NC[np.arange(N), images.targets_N], 1e-12)
    )
    return losses_N


def _is_auto(stage: Stage) -> bool:
    """Whether the symmetry of a stage is to be measured."""
    return (
        isinstance(stage, LinearStage | GradientStage)
        and stage.augmentation is not None
        and stage.augmentation.symmetry == "auto"
    )


def _with_known_symmetry(stage: Stage, symmetry: Symmetry) -> Stage:
    if not isinstance(stage, LinearStage | GradientStage) or not _is_auto(stage):
        return stage
    assert stage.augmentation is not None
    known = stage.augmentation.model_copy(update={"symmetry": symmetry})
    return stage.model_copy(update={"augmentation": known})
