"""What a training would take, told from a few images and one batch."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holotype.dataset.index import Index, Part
from holotype.progress import duration, pluralize
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import GradientStage, LinearStage
from holotype.training.data.loader import num_batches
from holotype.training.features.disk_budget import format_bytes
from holotype.training.features.frozen_features import (
    SINGLE_VIEW,
    FeatureExtractor,
    ViewPlan,
    time_missing_features,
)
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.finetuning.training_state import StageData, StageStart
from holotype.training.interruption import StopSignal
from holotype.training.symmetry import (
    EIGHT_VIEWS,
    is_to_be_measured,
    measured_images,
    with_symmetry,
)
from holotype.training.training_resources import Runtime

if TYPE_CHECKING:
    from holotype.training.finetuning.finetune import FineTuner
    from holotype.training.finetuning.layer_selection import LayerSelection

TIMED_IMAGES = 24  # that the frozen part is timed on
TIMED_BATCHES = 2  # that a stage is timed on, twice: the first one of all warms up


@dataclass(frozen=True)
class StageEstimate:
    """Of one piece of work, in all trainings together.

    Attributes:
        stage: of the recipe.
        work: what is done, in words.
        seconds: that it would take here.
        disk_bytes: that would be kept.
    """

    stage: str
    work: str
    seconds: float
    disk_bytes: float = 0


def estimate_stages(
    recipe: Recipe, trainings: Sequence[Index], runtime: Runtime
) -> list[StageEstimate]:
    """Time a few images through every frozen part, and a batch of every stage.

    What is kept from other runs is not counted again, and what one training keeps the next finds.
    Fitting heads of classical stages and linear ones, which takes seconds on thousands of
    embeddings, is not timed.

    Args:
        trainings: what each is trained on, split, with every broken image taken out; several
            with folds. Batches are timed on the first, and counted for all.
    """
    costs: list[StageEstimate] = []
    if is_to_be_measured(recipe):
        # What trains is as large whatever the measurement says.
        recipe = with_symmetry(recipe, "dihedral")
        costs.append(_estimate_symmetry(recipe, trainings, runtime))
    pretrained = PretrainedBackbone(recipe, trainings[0], runtime.progress)
    fine_tuner: FineTuner | None = None
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, GradientStage):
            fine_tuner = fine_tuner or _fine_tuner(pretrained, runtime)
            costs += _estimate_gradient_stage(fine_tuner, number, stage, trainings)
        else:
            frozen = pretrained.feature_extractor(EMBEDDING, runtime.device)
            views = SINGLE_VIEW
            if isinstance(stage, LinearStage):
                views = ViewPlan(stage.views, stage.augmentation, recipe.seed)
            costs.append(_estimate_frozen_part(pretrained, frozen, stage.name, trainings, views))
    return costs


def _estimate_symmetry(
    recipe: Recipe, trainings: Sequence[Index], runtime: Runtime
) -> StageEstimate:
    """The frozen part on the mirrored and turned images of every training."""
    missing = disk = seconds = 0.0
    for index in trainings:
        pretrained = PretrainedBackbone(recipe, index, runtime.progress)
        left, each, nbytes = time_missing_features(
            pretrained.feature_extractor(EMBEDDING, runtime.device), recipe.preprocessing,
            measured_images(pretrained), ViewPlan(fixed=EIGHT_VIEWS), images=TIMED_IMAGES,
        )  # fmt: skip
        missing, disk, seconds = missing + left, disk + left * nbytes, seconds + left * each
    work = f"{pluralize(round(missing), 'view')} to measure the symmetry with"
    return StageEstimate("symmetry", work, seconds, disk)


def _estimate_frozen_part(
    pretrained: PretrainedBackbone,
    part: FeatureExtractor,
    stage: str,
    trainings: Sequence[Index],
    views: ViewPlan,
) -> StageEstimate:
    """The frozen part on what is not kept yet, of training and validation images."""
    missing = disk = seconds = 0.0
    train = _merged_part(trainings, "train")
    # An image that trains somewhere is kept with all its views, and the first is what validates.
    validation_only = _merged_part(trainings, "val", exclude=set(train.table["path"]))
    for images, num_views in ((train, views.count), (validation_only, 1)):
        if len(images) == 0:
            continue
        left, each, nbytes = time_missing_features(
            part, pretrained.recipe.preprocessing, images,
            replace(views, count=num_views), images=TIMED_IMAGES,
        )  # fmt: skip
        missing, disk, seconds = missing + left, disk + left * nbytes, seconds + left * each
    work = f"{pluralize(round(missing), 'view')} through the frozen part"
    return StageEstimate(stage, work, seconds, disk)


def _merged_part(trainings: Sequence[Index], part: Part, exclude: Collection[str] = ()) -> Index:
    """The images of a part in any training, each once."""
    import pandas as pd

    table = pd.concat([one.part(part).table for one in trainings]).drop_duplicates("path")
    return replace(trainings[0], table=table[~table["path"].isin(exclude)].reset_index(drop=True))


def _estimate_gradient_stage(
    fine_tuner: "FineTuner", number: int, stage: GradientStage, trainings: Sequence[Index]
) -> list[StageEstimate]:
    from holotype.architectures.onnx_export import cut_output_name
    from holotype.training.finetuning.layer_selection import select_for_stage

    pretrained, runtime = fine_tuner.pretrained, fine_tuner.runtime
    selection = select_for_stage(fine_tuner.classifier.backbone, stage)
    costs = []
    if selection.cut != 0:
        output = EMBEDDING if selection.cut is None else cut_output_name(selection.cut)
        part = pretrained.feature_extractor(output, runtime.device)
        costs.append(
            _estimate_frozen_part(
                pretrained,
                part,
                stage.name,
                trainings,
                ViewPlan(stage.views, stage.augmentation, pretrained.recipe.seed),
            )
        )
    images = [len(one.part("train")) for one in trainings]
    batches = sum(num_batches(count, stage.batch_size) for count in images)
    seconds = _seconds_per_batch(fine_tuner, number, stage, selection)
    work = f"{stage.epochs} epochs of {batches:,} batches of up to {stage.batch_size}"
    if len(trainings) > 1:
        work += f" in {len(trainings)} trainings"
    return [*costs, StageEstimate(stage.name, work, stage.epochs * batches * seconds)]


def _seconds_per_batch(
    fine_tuner: "FineTuner", number: int, stage: GradientStage, selection: "LayerSelection"
) -> float:
    """Seconds of one batch, forth and back."""
    from holotype.training.finetuning.gradient_step import Callbacks
    from holotype.training.finetuning.training_loop import train_loop

    data = fine_tuner.few_inputs(stage, selection.cut, TIMED_BATCHES * stage.batch_size)
    changes = {"epochs": 2, "views": 1, "accumulation": 1, "patience": None, "schedule": "constant"}
    ends: list[float] = []
    train_loop(
        fine_tuner.classifier, selection, stage.model_copy(update=changes), StageData(data, None),
        StageStart(fine_tuner.pretrained.recipe.seed, number),
        replace(fine_tuner.runtime, stop_signal=StopSignal()),
        Callbacks(on_step=lambda done, total: ends.append(time.perf_counter())),
    )  # fmt: skip
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def estimate_rows(costs: list[StageEstimate]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: stage, work, time, disk; the sum below."""
    rows = [
        (c.stage, c.work, duration(c.seconds), format_bytes(c.disk_bytes) if c.disk_bytes else "")
        for c in costs
    ]
    seconds, disk = sum(c.seconds for c in costs), sum(c.disk_bytes for c in costs)
    return [*rows, ("in all", "", duration(seconds), format_bytes(disk) if disk else "")]


def _fine_tuner(pretrained: PretrainedBackbone, runtime: Runtime) -> "FineTuner":
    from holotype.training.finetuning.finetune import FineTuner

    return FineTuner.create(pretrained, runtime, None)
