"""An epoch on kept activations against the same epoch through the whole network in eager torch.

    .venv/bin/python benchmarks/epoch_speed.py --seeds 0 1 2 --output runs/epoch-speed

ELPV, `efficientnet_lite0` at 224 pixels, all from the same linear head, for as many epochs, one
after the other in the same process:

- `kept`: groups 5 and up train (trainable: 3) on kept activations, of as many views of each image
  as there are epochs, so that every epoch sees what `live` sees in it (what fewer views cost is
  asked in benchmarks/views.py);
- `live`: the same groups train, and every image goes through the frozen part in eager torch
  (channels-last, no gradients), under a fresh view in each epoch;
- `eager`: the same as `live` in torch's default memory format, as most would write it;
- `whole`: the whole network trains in eager torch (channels-last), under a fresh view in each
  epoch, at the rates of the recipe `full`.

Prints the median seconds of an epoch, the ratio to `kept`, and the difference of the weighted
accuracies on test, `kept` minus the other, with a 95 % interval by a paired bootstrap over the
images: an image is drawn with all the test parts that it stands in. Seeds are those of the
split; what is in the output already is not run again.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from views import Cells, Clock, kept_or_fresh

from holotype.training.config.augmentation_config import Augmentation
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.loader import (
    AugmentedImages,
    LabelledViews,
    image_files,
    validation_batches,
)
from holotype.training.finetuning.finetune import FineTuner, targets_and_weights
from holotype.training.finetuning.layer_selection import LayerSelection, select_layers
from holotype.training.finetuning.training_loop import Callbacks, train_loop
from holotype.training.finetuning.training_state import StageData, StageStart

if TYPE_CHECKING:
    from torch import nn

ARMS = ("kept", "live", "eager", "whole")
# Cells have no up, and nothing else about them varies by hand: as in the demo.
AUGMENTATION = (
    "{symmetry: dihedral, rotation_degrees: 0, zoom: 0, shift: 0, brightness: 0, contrast: 0}"
)
DRAWS = 2000


@dataclass(frozen=True)
class Result:
    """One training on one split.

    Attributes:
        epoch_s: seconds of each epoch, validation included.
        ids, right, weights: of the test images, in one order.
    """

    arm: str
    seed: int
    epoch_s: list[float]
    best_epoch: int
    ids: list[str]
    right: list[bool]
    weights: list[float]

    @property
    def accuracy(self) -> float:
        return float(np.average(self.right, weights=self.weights))


@dataclass(frozen=True, eq=False)
class ThroughTheFrozenPart:
    """Fresh views through the part below a cut, in eager torch, a batch at a time."""

    views: AugmentedImages
    below: "nn.Module"
    channels_last: bool

    def __len__(self) -> int:
        return len(self.views)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> Any:
        import torch

        with torch.no_grad():
            x = torch.from_numpy(self.views.batch(images, views))
            if self.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            return self.below(x).contiguous().numpy()


def run_one(cells: Cells, arm: str, seed: int, epochs: int) -> Result:
    name, trainable = ("full", "all") if arm == "whole" else ("finetune", "3")
    settings = {"stages.1.trainable": trainable, "stages.1.augmentation": AUGMENTATION}
    settings |= {"stages.1.views": str(epochs)}
    settings |= {"stages.1.patience": "null"}
    recipe = cells.recipe(name, settings, epochs=epochs)
    stage = recipe.stages[1]
    assert isinstance(stage, GradientStage)
    fine_tuner = cells.begin(recipe)
    selection = select_layers(fine_tuner.classifier.backbone, stage.trainable)
    train, validation = _data(fine_tuner, arm, stage, selection)
    clock = Clock.started()
    ended = train_loop(
        fine_tuner.classifier, selection, stage, StageData(train, validation),
        StageStart(0, number=1), fine_tuner.runtime, Callbacks(on_epoch=clock),
    )  # fmt: skip
    ids, right, weights = _on_test(fine_tuner)
    return Result(arm, seed, clock.seconds, ended.best_epoch, ids, right, weights)


def _data(
    fine_tuner: FineTuner, arm: str, stage: GradientStage, selection: LayerSelection
) -> tuple[LabelledViews, LabelledViews]:
    pretrained = fine_tuner.pretrained
    if arm == "kept":
        train, validation = (
            kept_or_fresh(pretrained, selection, stage, part, fresh=False)
            for part in ("train", "val")
        )
        return train, validation
    from holotype.architectures.torch_classifier import BackboneBelowCut

    below = BackboneBelowCut(pretrained.backbone, selection.cut)
    data = []
    for part in ("train", "val"):
        index, targets_N, weights_N = targets_and_weights(pretrained, part)
        live = AugmentedImages(
            image_files(index), pretrained.recipe.preprocessing,
            stage.augmentation or Augmentation(), 0,
        )  # fmt: skip
        views = live if arm == "whole" else ThroughTheFrozenPart(live, below, arm == "live")
        data.append(LabelledViews(views, targets_N, weights_N))
    return data[0], data[1]


def _on_test(fine_tuner: FineTuner) -> tuple[list[str], list[bool], list[float]]:
    import torch

    index, targets_N, weights_N = targets_and_weights(fine_tuner.pretrained, "test")
    preprocessing = fine_tuner.pretrained.recipe.preprocessing
    live = AugmentedImages(image_files(index), preprocessing, Augmentation(), 0)
    classifier, right = fine_tuner.classifier.eval(), []
    with torch.no_grad():
        for batch in validation_batches(LabelledViews(live, targets_N, weights_N), 32):
            logits = classifier(batch.inputs.contiguous(memory_format=torch.channels_last))
            right += (logits.argmax(dim=1) == batch.targets).tolist()
    return index.table["path"].tolist(), right, [float(weight) for weight in weights_N]


def paired(kept: Sequence[Result], other: Sequence[Result]) -> tuple[float, float, float]:
    """Mean over the splits of the difference of accuracies, and its 95 % interval."""
    parts = []
    for one, two in zip(kept, other, strict=True):
        assert (one.seed, one.ids) == (two.seed, two.ids)
        gain_N = np.array(one.right, float) - np.array(two.right, float)
        parts.append((one.ids, gain_N, np.array(one.weights)))
    names = sorted({name for ids, _, _ in parts for name in ids})
    number = {name: n for n, name in enumerate(names)}
    rows = [np.array([number[name] for name in ids]) for ids, _, _ in parts]

    def mean(counts: np.ndarray) -> float:
        drawn = [counts[r] * weights_N for r, (_, _, weights_N) in zip(rows, parts, strict=True)]
        return float(np.mean([d @ p[1] / d.sum() for d, p in zip(drawn, parts, strict=True)]))

    rng = np.random.default_rng(0)
    draws = [
        mean(np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return mean(np.ones(len(names))), float(low), float(high)


def table_of(results: Sequence[Result]) -> str:
    arms = {arm: sorted((r for r in results if r.arm == arm), key=lambda r: r.seed) for arm in ARMS}
    kept_s = statistics.median(s for r in arms["kept"] for s in r.epoch_s)
    lines = ["| what | an epoch | times `kept` | accuracy on test | `kept` minus this, points |"]
    lines.append("|---|---|---|---|---|")
    for arm, of_arm in arms.items():
        if not of_arm:
            continue
        epoch_s = statistics.median(s for r in of_arm for s in r.epoch_s)
        accuracy = 100 * statistics.fmean(r.accuracy for r in of_arm)
        difference = ""
        if arm != "kept" and [r.seed for r in of_arm] == [r.seed for r in arms["kept"]]:
            mean, low, high = (100 * value for value in paired(arms["kept"], of_arm))
            difference = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        numbers = f"{epoch_s:.1f} s | {epoch_s / kept_s:.1f} | {accuracy:.2f} % | {difference}"
        lines.append(f"| {arm} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/epoch-speed"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--images", type=int, help="only so many images of a part, for a try")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results, cells = [], {}
    for seed, arm in product(arguments.seeds, arguments.arms):
        file = arguments.output / f"{arm}-{seed}.json"
        if not file.exists():
            print(f"{arm}, split seed {seed}", flush=True)
            if seed not in cells:
                cells[seed] = Cells(arguments.output, split_seed=seed, images=arguments.images)
            result = run_one(cells[seed], arm, seed, arguments.epochs)
            file.write_text(json.dumps(asdict(result)) + "\n")
        results.append(Result(**json.loads(file.read_text())))
    print(table_of(results))


if __name__ == "__main__":
    main()
