"""Train the stages, write each as a bundle, and calibrate it; refit on validation too."""

import math
from dataclasses import replace

from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.inference import predict_index
from holotype.bundle.manifest import Decision
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import describe_missing_classes
from holotype.errors import DatasetError, InvalidRatios, InvalidRecipe
from holotype.evaluation.intervals import SamplingUnits
from holotype.evaluation.ood_selection import independent_images, min_images_for_threshold
from holotype.files import discard, write_bytes, write_json
from holotype.pipeline.keep_validation import with_validation_images
from holotype.pipeline.training_run.calibrate import calibrate, seal, with_training_references
from holotype.pipeline.training_run.training_job import TrainingJob
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import recipe_for_directory
from holotype.training.finetuning.history import write_history
from holotype.training.train_stages import TrainedModel
from holotype.training.train_stages import train as train_stages


def train_and_seal(
    job: TrainingJob, index: Index, run: RunDirectory
) -> tuple[TrainedModel, Bundle]:
    """Train, write the bundles, and seal the decisions that validation makes."""
    recipe = job.recipe
    hindrance = refit_hindrance(recipe, index) if recipe.refit else None
    refits = recipe.refit and hindrance is None
    calibrated: dict[str, tuple[Bundle, list[str]]] = {}

    def write_stage_run(stage: str, best: TrainedModel) -> None:
        """What a stage left, as a run that could have been trained on its own."""
        if len(recipe.stages) > 1 or refits:
            stage_run = run.stage(stage)
            stage_run.path.mkdir(parents=True, exist_ok=True)
            told = len(best.notes)
            bundle = write_and_calibrate(index, best, stage_run)
            calibrated[stage] = bundle, best.notes[told:]
            index.write(stage_run.index)
            alone = recipe.up_to(stage).model_copy(update={"refit": False})
            of_stage = recipe_for_directory(alone, stage_run.path)
            stage_run.write_recipe(of_stage.to_yaml())

    trained = train_stages(
        recipe, index, name=job.name, runtime=job.runtime, on_stage=write_stage_run,
        copies=job.findings.duplicate_clusters,
    )  # fmt: skip
    if refits:
        bundle, notes = calibrated[recipe.stages[-1].name]
        decision = bundle.manifest.decision
        assert decision is not None  # validation has images
        trained.notes.extend(notes)
        return _refit(job, index, run, trained, decision)
    if hindrance:
        trained.notes.append(f"refit: not done, since {hindrance}")
    return trained, write_and_calibrate(index, trained, run)


def refit_hindrance(recipe: Recipe, index: Index) -> str | None:
    """Why what ships cannot learn from validation; None where it can."""
    if len(index.part("val")) == 0:
        return "validation has no images"
    if len(index.part("test")) == 0:
        return "without a test part validation is what is reported"
    if recipe.unknown is not None:
        return "the threshold for unknown images holds for images that were not learnt from"
    if any(stage.schedule == "plateau" for stage in recipe.gradient_stages):
        return "the plateau schedule needs a validation loss"
    return None


def _refit(
    job: TrainingJob,
    index: Index,
    run: RunDirectory,
    chosen: TrainedModel,
    decision: Decision,
) -> tuple[TrainedModel, Bundle]:
    """Train on training and validation together, as validation chose, with the decision it made.

    What was chosen is the run of the last stage; its history and its predictions of validation,
    which it did not learn from, are those of the whole run too.
    """
    table = index.table.assign(split=index.table["split"].replace("val", "train"))
    together = replace(index, table=table)
    job.progress.log(
        f"training again on all {len(together.part('train')):,} images of training and validation"
    )
    runtime = replace(job.runtime, checkpoints=run.refit_checkpoints, on_epoch=lambda epoch: None)
    refitted = train_stages(
        chosen.recipe, together, name=job.name, runtime=runtime, last_epochs=chosen.best_epochs,
        copies=job.findings.duplicate_clusters,
    )  # fmt: skip
    stage_run = run.stage(chosen.recipe.stages[-1].name)
    write_history(chosen.history, run.history)
    write_json(run.class_names, list(index.classes))
    discard(run.bundle)
    bundle = write_bundle(
        run.bundle, backbone=refitted.backbone, head=refitted.head,
        manifest=replace(refitted.manifest, unsealed=True, trained_on_validation=True),
    )  # fmt: skip
    if chosen.recipe.references:
        bundle = with_training_references(bundle, chosen.recipe, together)
    bundle = seal(bundle, replace(decision, calibration_set=None), index)
    validation = (stage_run.predictions / "val.parquet").read_bytes()
    write_bytes(run.predictions / "val.parquet", validation)
    note = (
        "What ships was trained again on training and validation together, as validation had "
        f"chosen; what validation says is said of RUN@{stage_run.path.name}, which did not learn "
        "from it."
    )
    return replace(chosen, manifest=bundle.manifest, notes=[*chosen.notes, note]), bundle


def require_validation(recipe: Recipe, index: Index) -> None:
    """Refuse before any work what cannot be sealed, or reported, at its end.

    Raises:
        InvalidRecipe: validation has no images, or too few for what it is to promise.
        InvalidRatios: a part was held back for prediction sets, but nothing can be sealed.
        DatasetError: neither validation nor test has an image.
    """
    table = index.part("val").table
    num_images = int((table["weight"] > 0).sum())
    if num_images == 0 and any(stage.schedule == "plateau" for stage in recipe.gradient_stages):
        raise InvalidRecipe(
            "recipe: the plateau schedule needs a validation loss, and there are no validation "
            "images; take cosine, or change --ratios."
        )
    if recipe.test_time_augmentation not in ("none", "auto") and num_images == 0:
        raise InvalidRecipe(
            f"recipe: test_time_augmentation: {recipe.test_time_augmentation} is "
            "sealed with what validation says of it, "
            "and validation has no images. Say none, or change --ratios."
        )
    if recipe.unknown is not None:
        _require_independent_images(table[table["weight"] > 0]["group"].tolist(), recipe.unknown)
    if num_images == 0 and len(index.part("cal")):
        raise InvalidRatios(
            f"{len(index.part('cal'))} images are held back to calibrate prediction sets on, but "
            "validation has none to fit the temperature on first; give it a share, such as "
            "0.6 0.15 0.15 0.1."
        )
    if num_images == 0 and len(index.part("test")) == 0:
        lacking = describe_missing_classes(index, ratios=recipe.split.ratios)
        raise DatasetError(
            "neither validation nor test would have an image to report on. "
            f"{' '.join([*lacking, 'Add images, or change --ratios.'])}"
        )


def _require_independent_images(groups: list[str], false_rejection_rate: float) -> None:
    """Refuse a promise about unknown images for which validation has too few."""
    units, fewest = SamplingUnits.of_groups(groups), min_images_for_threshold(false_rejection_rate)
    worth = independent_images(units, [])
    if worth < fewest:
        count_as = ""
        if units.grouped:
            count_as = f" in {units.count} groups, which count as {math.floor(worth)}"
        raise InvalidRecipe(
            f"recipe: unknown: {false_rejection_rate:g} is a promise that takes at least "
            f"{math.ceil(fewest)} independent validation images, and there are "
            f"{len(groups)}{count_as}. Allow a larger share, or give validation more {units.noun} "
            "with --ratios."
        )


def write_and_calibrate(index: Index, trained: TrainedModel, run: RunDirectory) -> Bundle:
    """Write history, class names and bundle, seal the decision, and predict validation with it."""
    write_history(trained.history, run.history)
    write_json(run.class_names, list(index.classes))
    discard(run.bundle)  # of a process that was killed
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head,
        manifest=replace(trained.manifest, unsealed=True),
    )  # fmt: skip
    bundle, notes = calibrate(bundle, trained.recipe, index)
    trained.notes.extend(notes)
    if len(index.part("val")):
        predictions = predict_index(bundle, index.part("val"))  # from cached embeddings
        kept = trained.recipe.watch_reference
        if kept != "none" and len(predictions):
            bundle = with_validation_images(
                bundle, index, predictions, with_embeddings=kept == "embeddings"
            )
            predictions = replace(predictions, bundle_sha256=bundle.sha256)
        predictions.write(run.predictions / "val.parquet")
    return bundle
