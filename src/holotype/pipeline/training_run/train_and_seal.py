"""Train the stages, write each as a bundle, and calibrate it."""

from dataclasses import replace

from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import Index
from holotype.errors import InvalidRatios, InvalidRecipe
from holotype.evaluation.ood_selection import min_images_for_threshold
from holotype.files import discard
from holotype.pipeline.training_run.calibrate import calibrate
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

    def write_stage_run(stage: str, best: TrainedModel) -> None:
        """What a stage left, as a run that could have been trained on its own."""
        if len(recipe.stages) > 1:
            stage_run = run.stage(stage)
            stage_run.path.mkdir(parents=True, exist_ok=True)
            write_and_calibrate(index, best, stage_run)
            index.write(stage_run.index)
            of_stage = recipe_for_directory(recipe.up_to(stage), stage_run.path)
            stage_run.write_recipe(of_stage.to_yaml())

    trained = train_stages(
        recipe, index, name=job.name, runtime=job.runtime, on_stage=write_stage_run
    )
    return trained, write_and_calibrate(index, trained, run)


def require_validation(recipe: Recipe, index: Index) -> None:
    """Refuse before any work what cannot be sealed at its end.

    Raises:
        InvalidRecipe: validation has no images, or too few for what it is to promise.
        InvalidRatios: a part was held back for prediction sets, but nothing can be sealed.
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
    if recipe.unknown is not None and num_images < min_images_for_threshold(recipe.unknown):
        raise InvalidRecipe(
            f"recipe: unknown: {recipe.unknown:g} is a promise that takes at least "
            f"{min_images_for_threshold(recipe.unknown)} validation images, and there are "
            f"{num_images}. "
            "Allow a larger share, or give validation more images with --ratios."
        )
    if num_images == 0 and len(index.part("cal")):
        raise InvalidRatios(
            f"{len(index.part('cal'))} images are held back to calibrate prediction sets on, but "
            "validation has none to fit the temperature on first; give it a share, such as "
            "0.6 0.15 0.15 0.1."
        )


def write_and_calibrate(index: Index, trained: TrainedModel, run: RunDirectory) -> Bundle:
    """Write history and bundle, seal the decision, and predict validation with it."""
    write_history(trained.history, run.history)
    discard(run.bundle)  # of a process that was killed
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head,
        manifest=replace(trained.manifest, unsealed=True),
    )  # fmt: skip
    bundle, notes = calibrate(bundle, trained.recipe, index)
    trained.notes.extend(notes)
    if len(index.part("val")):
        predictions = predict_index(bundle, index.part("val"))  # from cached embeddings
        predictions.write(run.predictions / "val.parquet")
    return bundle
