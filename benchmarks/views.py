"""What keeping K augmented views costs against fresh ones in every epoch, on validation.

    .venv/bin/python benchmarks/views.py --output runs/views

ELPV, split seed 100 (one of those for tuning), `efficientnet_lite0` at 224 pixels, trained from
group 5 and from group 6 upwards, started from the linear head. Kept views are the first K of each
image, taken in turn; fresh ones are another in every epoch, run through the frozen part as they
come. All train for the same number of epochs, without stopping early; the lowest validation loss
counts, as it does in a run. The augmentation turns, mirrors, rotates, zooms, shifts and changes the
light, so that no eight views hold all there is; with --symmetries it turns and mirrors only, as in
the demo. Test is not read.

Each case leaves a JSON file in the output and is not run again. The table goes to stdout.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from holotype.dataset.index import Index, Part, read_index
from holotype.dataset.splitting.splitter import split
from holotype.elpv_demo import TEST_FRACTION, VALIDATION_FRACTION, split_table
from holotype.progress import to_stderr
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import GradientStage, LinearStage
from holotype.training.data.loader import LabelledViews
from holotype.training.features.disk_budget import DiskBudget
from holotype.training.features.frozen_features import (
    ViewPlan,
    cache_features,
    cached_or_live_features,
)
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.finetuning.finetune import FineTuner, Runtime, targets_and_weights
from holotype.training.finetuning.layer_selection import LayerSelection, select_layers
from holotype.training.finetuning.training_loop import Callbacks, train_loop
from holotype.training.finetuning.training_state import EpochMetrics, StageData, StageStart
from holotype.training.heads.logistic_regression import LinearHead, fit_linear_head
from holotype.training.heads.training_data import TrainingData

RATIOS = (1 - VALIDATION_FRACTION - TEST_FRACTION, VALIDATION_FRACTION, TEST_FRACTION)
AUGMENTATION = (
    "{symmetry: dihedral, rotation_degrees: 10, zoom: 0.1, shift: 0.05, brightness: 0.1, "
    "contrast: 0.1}"
)
SYMMETRIES = (
    "{symmetry: dihedral, rotation_degrees: 0, zoom: 0, shift: 0, brightness: 0, contrast: 0}"
)
CUTS = (2, 3)  # groups that train, from the top
VIEWS = ("1", "2", "4", "8", "fresh")
SPLIT_SEED = 100


@dataclass(frozen=True)
class Case:
    """One training: how many groups, which views, and what came out.

    Attributes:
        pass_s: the frozen part on all views, before the first epoch; 0 where they were kept.
        epoch_s: median of an epoch, validation included.
    """

    trainable: int
    views: str
    seed: int
    epochs: int
    val_loss: float
    val_accuracy: float
    best_epoch: int
    pass_s: float
    epoch_s: float


class Cells:
    """The solar cells, split, with a linear head on their embeddings to start from.

    Args:
        images: only the first so many cells of each part, for a try.
    """

    def __init__(self, folder: Path, *, split_seed: int, images: int | None = None) -> None:
        self.folder = folder
        table = folder / f"data-{split_seed}" / "table.csv"
        if not table.exists():
            split_table(table.parent, seed=split_seed)
        index = split(read_index(table), ratios=RATIOS, seed=42)
        self.index = index if images is None else _few(index, images)
        self.progress = to_stderr()

    def recipe(self, name: str, overrides: dict[str, str], **changes: Any) -> Recipe:
        return resolve_recipe(name, model="efficientnet_lite0", overrides=overrides, **changes)

    @cached_property
    def _linear_start(self) -> PretrainedBackbone:
        return PretrainedBackbone(self.recipe("linear", {}), self.index, self.progress)

    @cached_property
    def linear(self) -> LinearHead:
        (stage,) = self._linear_start.recipe.stages
        assert isinstance(stage, LinearStage)
        index, targets_N, weights_N = targets_and_weights(self._linear_start, "train")
        part = self._linear_start.feature_extractor(EMBEDDING, "cpu")
        kept = cache_features(part, self._linear_start.recipe.preprocessing, index)
        data = TrainingData(
            kept.first_view(), targets_N, weights_N.astype(np.float64),
            index.table["group"].tolist(), len(index.classes),
        )  # fmt: skip
        return fit_linear_head(data, stage, 0)

    def begin(self, recipe: Recipe) -> FineTuner:
        """The network with its weights, and the linear head on it."""
        runtime = Runtime("cpu", self.folder, self.progress)
        return FineTuner.create(
            PretrainedBackbone(recipe, self.index, self.progress), runtime, self.linear
        )


def _few(index: Index, images: int) -> Index:
    """The first rows of each class in each part: a try that means nothing."""
    few = index.table.groupby(["split", "label"]).head(images // 2).reset_index(drop=True)
    return replace(index, table=few)


@dataclass(eq=False)
class Clock:
    """Told of every epoch: keeps the rows and the seconds that each epoch took."""

    rows: list[EpochMetrics]
    seconds: list[float]
    last: float = 0.0

    @classmethod
    def started(cls) -> "Clock":
        return cls([], [], time.perf_counter())

    def __call__(self, epoch: EpochMetrics) -> None:
        now = time.perf_counter()
        if epoch.epoch:
            self.seconds.append(now - self.last)
        self.last = now
        self.rows.append(epoch)
        print(f"  {epoch}", flush=True)


def kept_or_fresh(
    pretrained: PretrainedBackbone,
    selection: LayerSelection,
    stage: GradientStage,
    part: Part,
    *,
    fresh: bool,
) -> LabelledViews:
    """What lies below the cut: kept, or fresh for every epoch (the images themselves: kept)."""
    from holotype.architectures.onnx_export import cut_output_name

    assert selection.cut is not None
    index, targets_N, weights_N = targets_and_weights(pretrained, part)
    views = stage.views if part == "train" else 1
    features, line = cached_or_live_features(
        pretrained.feature_extractor(cut_output_name(selection.cut), "cpu"),
        pretrained.recipe.preprocessing,
        index,
        ViewPlan(views, stage.augmentation, pretrained.recipe.seed),
        budget=DiskBudget(0) if fresh and part == "train" else None,
    )
    if fresh and part == "train" and not line:
        raise SystemExit("fresh views are kept already: let --epochs pass the largest of --views")
    return LabelledViews(features, targets_N, weights_N)


def run_case(
    cells: Cells, trainable: int, views: str, seed: int, epochs: int, augmentation: str
) -> Case:
    number = epochs if views == "fresh" else int(views)
    settings = {"stages.1.trainable": str(trainable), "stages.1.views": str(number)}
    settings |= {"stages.1.patience": "null"}
    settings |= {"stages.1.augmentation": augmentation if number > 1 else "null"}
    recipe = cells.recipe("finetune", settings, epochs=epochs, seed=seed)
    stage = recipe.stages[1]
    assert isinstance(stage, GradientStage)
    fine_tuner = cells.begin(recipe)
    selection = select_layers(fine_tuner.classifier.backbone, stage.trainable)
    started = time.perf_counter()
    train = kept_or_fresh(fine_tuner.pretrained, selection, stage, "train", fresh=views == "fresh")
    pass_s = time.perf_counter() - started
    validation = kept_or_fresh(
        fine_tuner.pretrained, selection, stage, "val", fresh=views == "fresh"
    )
    clock = Clock.started()
    ended = train_loop(
        fine_tuner.classifier,
        selection,
        stage,
        StageData(train, validation),
        StageStart(seed, number=1),
        fine_tuner.runtime,
        Callbacks(on_epoch=clock),
    )
    best = ended.rows[ended.best_epoch]
    return Case(
        trainable, views, seed, epochs, best.val_loss, best.val_accuracy, ended.best_epoch, pass_s,
        statistics.median(clock.seconds),
    )  # fmt: skip


def table_of(cases: Sequence[Case]) -> str:
    """Markdown; means over the training seeds, with their range where there are several."""
    lines = [
        "| groups that train | views | validation loss | validation accuracy | frozen part, once | "
        "an epoch |",
        "|---|---|---|---|---|---|",
    ]
    for trainable, views in product(CUTS, VIEWS):
        of_one = [c for c in cases if (c.trainable, c.views) == (trainable, views)]
        if of_one:
            name = "fresh in each epoch" if views == "fresh" else f"{views} kept"
            lines.append(
                f"| {trainable} | {name} | {_mean([c.val_loss for c in of_one], 4)} | "
                f"{_mean([100 * c.val_accuracy for c in of_one], 2)} % | "
                f"{statistics.median(c.pass_s for c in of_one):.0f} s | "
                f"{statistics.median(c.epoch_s for c in of_one):.1f} s |"
            )
    return "\n".join(lines)


def _mean(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/views"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cuts", type=int, nargs="+", default=list(CUTS), choices=CUTS)
    parser.add_argument("--views", nargs="+", default=list(VIEWS), choices=VIEWS)
    parser.add_argument("--symmetries", action="store_true", help="turns and mirrors only")
    parser.add_argument("--images", type=int, help="only so many images of a part, for a try")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    cells = Cells(arguments.output, split_seed=SPLIT_SEED, images=arguments.images)
    cases = []
    augmentation = SYMMETRIES if arguments.symmetries else AUGMENTATION
    for trainable, views, seed in product(arguments.cuts, arguments.views, arguments.seeds):
        file = arguments.output / f"trainable-{trainable}-views-{views}-seed-{seed}.json"
        if not file.exists():
            print(f"trainable {trainable}, views {views}, seed {seed}", flush=True)
            case = run_case(cells, trainable, views, seed, arguments.epochs, augmentation)
            file.write_text(json.dumps(asdict(case), indent=2) + "\n")
        cases.append(Case(**json.loads(file.read_text())))
    print(table_of(cases))


if __name__ == "__main__":
    main()
