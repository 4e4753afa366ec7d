"""How a trained classifier answers: test-time views, temperature, OOD threshold, prediction sets.

All of it is fitted on validation and on the split `cal`, and sealed into the bundle before test is
read.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.bundle.embedding import Embeddings
from holotype.bundle.inference import embed_index, ood_scores, predict_index
from holotype.bundle.manifest import Decision, OODDetector
from holotype.bundle.ood_scores import NEIGHBOURS
from holotype.bundle.references import make_references
from holotype.bundle.views import ViewSet
from holotype.dataset.index import Index, Part
from holotype.evaluation.fit_decision import (
    choose_views,
    fit_decision,
    tta_effect,
    with_prediction_sets,
)
from holotype.evaluation.intervals import SamplingUnits
from holotype.evaluation.ood_selection import choose_ood_score, fit_ood_threshold
from holotype.predictions import Predictions
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage, LinearStage


def calibrate(bundle: Bundle, recipe: Recipe, index: Index) -> tuple[Bundle, list[str]]:
    """The bundle with references and a sealed decision, and notes on both for the report.

    Args:
        bundle: not sealed yet.
        index: split; where validation has no images nothing is sealed.
    """
    calibration = _Calibration(bundle, recipe, index)
    if recipe.references:
        calibration.add_references()
    if len(index.part("val")) == 0:
        if recipe.test_time_augmentation == "auto":
            calibration.notes.append(
                "test_time_augmentation: auto is none, since no validation image can choose it."
            )
        return calibration.bundle.without_decision(), calibration.notes
    decision = calibration.fit_views_and_temperature()
    if recipe.unknown is not None:
        decision = replace(decision, unknown=calibration.fit_ood_detector(recipe.unknown))
    return seal(calibration.bundle, decision, index), calibration.notes


def seal(
    bundle: Bundle, decision: Decision, index: Index, out_of_fold: Predictions | None = None
) -> Bundle:
    """Seal the decision, and the scores of prediction sets where there are images for them.

    Args:
        index: the split `cal` calibrates prediction sets.
        out_of_fold: calibrates them where `cal` has no images.
    """
    calibration_set = index.part("cal")
    if len(calibration_set):
        # A bundle of members has no views of its own: each of them has sealed its.
        views = None if bundle.members else decision.views
        predictions = predict_index(bundle, calibration_set, views=views)
        return bundle.with_decision(*with_prediction_sets(decision, predictions, "cal"))
    if out_of_fold is not None:
        return bundle.with_decision(*with_prediction_sets(decision, out_of_fold, "out_of_fold"))
    return bundle.with_decision(decision)


def with_training_references(bundle: Bundle, recipe: Recipe, index: Index) -> Bundle:
    """The bundle with the embeddings and names of the training images in it."""
    calibration = _Calibration(bundle, recipe, index)
    calibration.add_references()
    return calibration.bundle


@dataclass(eq=False)
class _Calibration:
    """The bundle so far, and notes for the report; a split is embedded once."""

    bundle: Bundle
    recipe: Recipe
    index: Index
    notes: list[str] = field(default_factory=list)
    _embedded: dict[Part, tuple[Index, Embeddings]] = field(default_factory=dict)

    def embed(self, part: Part) -> tuple[Index, Embeddings]:
        """The images of a split with a weight above 0 that can be read, and their embeddings."""
        if part not in self._embedded:
            images = self.index.part(part)
            images = images.without(set(images.table.loc[images.table["weight"] == 0, "path"]))
            found = embed_index(self.bundle, images)
            table = images.table.iloc[found.positions].reset_index(drop=True)
            self._embedded[part] = replace(images, table=table), found
        return self._embedded[part]

    def add_references(self) -> None:
        """Keep the embeddings and names of the training images in the bundle."""
        training, found = self.embed("train")
        paths = training.table["path"].tolist()
        references = make_references(found.embeddings_ND, training.targets_N, paths)
        self.bundle = self.bundle.with_references(references)

    def fit_views_and_temperature(self) -> Decision:
        """The views that validation prefers, and the temperature under them."""
        validation = self.index.part("val")
        candidates = {
            views: predict_index(self.bundle, validation, views=views)
            for views in candidate_views(self.recipe)
        }
        views = next(reversed(candidates))
        if self.recipe.test_time_augmentation == "auto":
            views = choose_views(candidates)
        if views != "one":
            self.notes.append(tta_effect(views, candidates["one"], candidates[views]).note())
        return fit_decision(candidates[views], views=views)

    def fit_ood_detector(self, false_rejection_rate: float) -> OODDetector | None:
        """The score and the threshold for "unknown", and references where the score needs them."""
        training, train_embeddings = self.embed("train")
        validation, val_embeddings = self.embed("val")
        choice = choose_ood_score(
            train_embeddings.embeddings_ND, training.targets_N,
            val_embeddings.embeddings_ND, validation.targets_N,
            num_classes=len(self.bundle.classes), seed=self.recipe.seed,
            energies_V=ood_scores(self.bundle, val_embeddings, "energy", NEIGHBOURS),
        )  # fmt: skip
        self.notes.append(choice.note())
        if choice.score == "neighbours" and self.bundle.references is None:
            self.add_references()
            self.notes.append(
                "The bundle keeps the embeddings and names of the training images, since unknown "
                "images are told by them. Whoever gets the bundle gets these too."
            )
        scores_V = ood_scores(self.bundle, val_embeddings, choice.score, NEIGHBOURS)
        units = SamplingUnits.of_groups(validation.table["group"].tolist())
        threshold = fit_ood_threshold(scores_V, false_rejection_rate, units)
        if threshold is None:  # an image became unreadable since it was counted
            self.notes.append("Too few validation images remain to say when an image is unknown.")
            return None
        self.notes.append(
            f"At most {false_rejection_rate:.1%} of images of known classes are answered with "
            f"unknown, with a confidence of 95 %; on the {len(scores_V):,} validation images"
            f"{f', in {units.count:,} groups,' if units.grouped else ''} it was "
            f"{float(np.mean(scores_V < threshold)):.1%}."
        )
        return OODDetector(
            choice.score, threshold, false_rejection_rate, num_images=len(scores_V),
            neighbours=NEIGHBOURS,
        )  # fmt: skip


def candidate_views(recipe: Recipe) -> list[ViewSet]:
    """The sets of views to try, the plain one first; `auto` tries what training saw too."""
    if recipe.test_time_augmentation == "none":
        return ["one"]
    if recipe.test_time_augmentation != "auto":
        return ["one", recipe.test_time_augmentation]
    stages = recipe.gradient_stages or recipe.stages
    changes = [
        stage.augmentation
        for stage in stages
        if isinstance(stage, LinearStage | GradientStage) and stage.augmentation
    ]
    seen = {change.symmetry for change in changes}
    candidates: list[ViewSet] = ["one"]
    if seen & {"horizontal", "both", "dihedral"}:
        candidates.append("mirror")
    if seen & {"both", "dihedral"}:
        candidates.append("flips")
    if any(change.zoom > 0 for change in changes):
        candidates.append("scales")
    if "dihedral" in seen:
        candidates.append("dihedral")
    return candidates
