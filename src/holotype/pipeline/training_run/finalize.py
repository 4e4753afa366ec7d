"""Stages become bundles, and validation seals what they answer with."""

import shutil
from dataclasses import replace

from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.inference import predict_index
from holotype.bundle.views import ViewSet
from holotype.dataset.index import Index
from holotype.errors import InvalidRatios, InvalidRecipe
from holotype.evaluation.ood_threshold import min_images_for_threshold
from holotype.evaluation.post_hoc_calibration import choose_views, fit_decision, tta_effect
from holotype.pipeline.training_run.conformal_and_ood import (
    build_references,
    fit_ood_rejection,
    seal_with_calibration_set,
)
from holotype.pipeline.training_run.training_job import TrainingJob
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.finetuning.history import write_history
from holotype.training.train_stages import TrainedModel
from holotype.training.train_stages import train as train_stages


def train_and_seal(
    job: TrainingJob, index: "Index", run: RunDirectory
) -> "tuple[TrainedModel, Bundle]":
    """Train, write the bundles, and seal the decisions that validation makes."""
    recipe = job.recipe

    def write_stage_run(stage: str, best: "TrainedModel") -> None:
        """What a stage left, as a run that could have been trained on its own."""
        if len(recipe.stages) > 1:
            stage_run = run.stage(stage)
            stage_run.path.mkdir(parents=True, exist_ok=True)
            # A process that was killed may have left it without its decision.
            shutil.rmtree(stage_run.bundle, ignore_errors=True)
            _write_and_seal(recipe, index, best, stage_run)
            index.write(stage_run.index)
            stage_run.write_recipe(recipe.up_to(stage).to_yaml())

    trained = train_stages(
        recipe, index, name=job.name, runtime=job.runtime, on_stage=write_stage_run
    )
    return trained, _write_and_seal(recipe, index, trained, run)


def require_validation(recipe: "Recipe", index: "Index") -> None:
    """Refuse before any work what cannot be sealed at its end.

    Raises:
        InvalidRecipe: validation has no images, or too few for what it is to promise.
        InvalidRatios: a part was held back for sets of classes, but nothing can be sealed.
    """
    table = index.part("val").table
    num_images = int((table["weight"] > 0).sum())
    if recipe.test_time_augmentation != "none" and num_images == 0:
        raise InvalidRecipe(
            f"recipe: test_time_augmentation: {recipe.test_time_augmentation} is "
            "sealed with what validation says of it, "
            "and validation has no images. Say none, or change --ratios."
        )
    if recipe.unknown is not None and num_images < min_images_for_threshold(recipe.unknown):
        raise InvalidRecipe(
            f"recipe: unknown: {recipe.unknown:g} is a promise that takes at least "
            f"{min_images_for_threshold(recipe.unknown)} validation images, and there are "
            f"{num_images}. "
            "Allow a larger share, or give validation more images with --ratios."
        )
    if num_images == 0 and len(index.part("cal")):
        raise InvalidRatios(
            f"{len(index.part('cal'))} images are held back to calibrate sets of classes on, but "
            "validation has none to fit the temperature on first; give it a share, such as "
            "0.6 0.15 0.15 0.1."
        )


def _write_and_seal(
    recipe: "Recipe", index: "Index", trained: "TrainedModel", run: RunDirectory
) -> "Bundle":
    """Write history and bundle; validation chooses the views and fits the decision."""
    write_history(trained.history, run.history)
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head, manifest=trained.manifest
    )
    if recipe.references:
        bundle = bundle.with_references(build_references(bundle, index))
    if len(index.part("val")) == 0:
        return bundle
    return _seal_decision(recipe, bundle, index, trained, run)


def _seal_decision(
    recipe: "Recipe", bundle: "Bundle", index: "Index", trained: "TrainedModel", run: RunDirectory
) -> "Bundle":
    validation = index.part("val")
    candidates = {
        views: predict_index(bundle, validation, views=views) for views in _candidate_views(recipe)
    }
    views = next(reversed(candidates))
    if recipe.test_time_augmentation == "auto":
        views = choose_views(candidates)
    decision = fit_decision(candidates[views], views=views)
    if views != "one":
        trained.notes.append(tta_effect(views, candidates["one"], candidates[views]).note())
    if recipe.unknown is not None:
        bundle, unknown = fit_ood_rejection(recipe, bundle, index, trained.notes)
        decision = replace(decision, unknown=unknown)
    bundle = seal_with_calibration_set(bundle, decision, index)
    sealed = predict_index(bundle, validation)  # embeddings are kept: this costs a head
    sealed.write(run.predictions / "val.parquet")
    return bundle


def _candidate_views(recipe: "Recipe") -> "list[ViewSet]":
    """The sets of views to try, the plain one first; `auto` tries what training saw too."""
    if recipe.test_time_augmentation == "none":
        return ["one"]
    if recipe.test_time_augmentation != "auto":
        return ["one", recipe.test_time_augmentation]
    changes = [stage.augmentation for stage in recipe.gradient_stages if stage.augmentation]
    seen = {change.symmetry for change in changes}
    candidates: list[ViewSet] = ["one"]
    if seen & {"horizontal", "both", "dihedral"}:
        candidates.append("mirror")
    if any(change.zoom > 0 for change in changes):
        candidates.append("scales")
    if "dihedral" in seen:
        candidates.append("dihedral")
    return candidates
