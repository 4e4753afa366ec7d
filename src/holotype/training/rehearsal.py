"""What a training would take, told from a few pictures and one batch."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from holotype.dataset.index import Index, Part
from holotype.narration import counted, duration
from holotype.training.augmentation import Augmentation
from holotype.training.descent import Descent, Means, labels
from holotype.training.disk import shown
from holotype.training.features import FrozenPart, sample_of
from holotype.training.groups import what_trains
from holotype.training.loader import Labelled, LiveViews, number_of_batches
from holotype.training.recipe import Recipe
from holotype.training.stages import GradientStage
from holotype.training.start import EMBEDDING, Start

IMAGES = 24  # that the frozen part is timed on
BATCHES = 2  # that a stage is timed on, twice: the first one of all warms up


@dataclass(frozen=True)
class Cost:
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


def rehearse(recipe: Recipe, trainings: Sequence[Index], means: Means) -> list[Cost]:
    """Time a few pictures through every frozen part, and a batch of every stage.

    What is kept from other runs is not counted again, and what one training keeps the next finds.
    Fitting heads of classical stages and linear ones, which takes seconds on thousands of
    embeddings, is not timed.

    Args:
        trainings: what each is trained on, split, with every broken picture taken out; several
            with folds. Batches are timed on the first, and counted for all.
    """
    start = Start(recipe, trainings[0], means.narrator)
    costs: list[Cost] = []
    descent: Descent | None = None
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, GradientStage):
            descent = descent or Descent.begin(start, means, None)
            costs += _of_descent(descent, number, stage, trainings)
        else:
            frozen = start.frozen_part(EMBEDDING, means.device)
            costs.append(_of_frozen(start, frozen, stage.name, trainings))
    return costs


def _of_frozen(
    start: Start, part: FrozenPart, stage: str, trainings: Sequence[Index], *, views: int = 1,
    augmentation: Augmentation | None = None,
) -> Cost:  # fmt: skip
    """The frozen part on what is not kept yet, of training and validation pictures."""
    missing = disk = seconds = 0.0
    train = _together(trainings, "train")
    # A picture that trains somewhere is kept with all its views, and the first is what validates.
    only_seen = _together(trainings, "val", but=set(train.table["path"]))
    for pictures, how_many in ((train, views), (only_seen, 1)):
        if len(pictures) == 0:
            continue
        left, each, nbytes = sample_of(
            part, start.recipe.preprocessing, pictures, images=IMAGES, views=how_many,
            augmentation=augmentation, seed=start.recipe.seed,
        )  # fmt: skip
        missing, disk, seconds = missing + left, disk + left * nbytes, seconds + left * each
    work = f"{counted(round(missing), 'view')} through the frozen part"
    return Cost(stage, work, seconds, disk)


def _together(trainings: Sequence[Index], part: Part, but: Collection[str] = ()) -> Index:
    """The pictures of a part in any training, each once."""
    table = pd.concat([one.part(part).table for one in trainings]).drop_duplicates("path")
    return replace(trainings[0], table=table[~table["path"].isin(but)].reset_index(drop=True))


def _of_descent(
    descent: Descent, number: int, stage: GradientStage, trainings: Sequence[Index]
) -> list[Cost]:
    from holotype.models.export import cut_output

    start, means = descent.start, descent.means
    chosen = what_trains(descent.classifier.backbone, stage.trainable)
    costs = []
    if chosen.cut != 0:
        output = EMBEDDING if chosen.cut is None else cut_output(chosen.cut)
        part = start.frozen_part(output, means.device)
        costs.append(
            _of_frozen(
                start,
                part,
                stage.name,
                trainings,
                views=stage.views,
                augmentation=stage.augmentation,
            )
        )
    pictures = [len(one.part("train")) for one in trainings]
    batches = sum(number_of_batches(count, stage.batch_size) for count in pictures)
    seconds = _of_batch(descent, number, stage, chosen.cut)
    work = f"{stage.epochs} epochs of {batches:,} batches of up to {stage.batch_size}"
    if len(trainings) > 1:
        work += f" in {len(trainings)} trainings"
    return [*costs, Cost(stage.name, work, stage.epochs * batches * seconds)]


def _of_batch(descent: Descent, number: int, stage: GradientStage, cut: int | None) -> float:
    """Seconds of one batch, forth and back."""
    from holotype.training.loop import train_top

    index, targets_N, weights_N = labels(descent.start, "train")
    count = min(len(index), BATCHES * stage.batch_size)
    few = replace(index, table=index.table.head(count).reset_index(drop=True))
    recipe = descent.start.recipe
    if cut == 0:
        views = LiveViews(
            few, recipe.preprocessing, stage.augmentation or Augmentation(), recipe.seed
        )
        data = Labelled(views, targets_N[:count], weights_N[:count])
    else:
        data = descent.few_kept(cut, few, targets_N[:count], weights_N[:count])
    changes = {"epochs": 2, "views": 1, "accumulation": 1, "patience": None, "schedule": "constant"}
    chosen = what_trains(descent.classifier.backbone, stage.trainable)
    ends: list[float] = []
    train_top(
        descent.classifier, chosen, stage.model_copy(update=changes), data, None,
        seed=recipe.seed, number=number, device=descent.means.device,
        save_memory=descent.means.save_memory,
        on_step=lambda done, total: ends.append(time.perf_counter()),
    )  # fmt: skip
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def said(costs: list[Cost]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: stage, work, time, disk; the sum below."""
    rows = [
        (c.stage, c.work, duration(c.seconds), shown(c.disk_bytes) if c.disk_bytes else "")
        for c in costs
    ]
    seconds, disk = sum(c.seconds for c in costs), sum(c.disk_bytes for c in costs)
    return [*rows, ("in all", "", duration(seconds), shown(disk) if disk else "")]
