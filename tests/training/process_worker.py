"""One of several processes that train a tiny network; started by test_several_processes.

python -m tests.training.process_worker OUTPUT CHANGES: trains the stage with these changes, and the
first process writes the weights; every process writes the images of its batches.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holotype.progress import Progress
from holotype.training.data.loader import LabelledViews
from holotype.training.finetuning.training_loop import train_loop
from holotype.training.finetuning.training_state import StageData, StageStart
from holotype.training.process_group import join_processes, leave_processes, process_share
from holotype.training.training_resources import Runtime
from tests.training.tiny import Arrays, classifier, data, selection, stage

IMAGES = 97  # a prime number


class Recorded(Arrays):
    """Notes which images were asked for."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__(values)
        self.asked: list[int] = []

    def batch(self, images: list[int], views: list[int]) -> NDArray[np.float32]:
        self.asked += images
        return super().batch(images, views)


def train(output: Path, changes: dict[str, Any]) -> None:
    torch.use_deterministic_algorithms(True)
    share = process_share()
    if share.size > 1:
        join_processes("cpu")
    how = stage(**changes)
    network = classifier()
    shape = (3, 6, 6) if how.trainable == "all" else (8, 6, 6)
    images, validation = data(IMAGES, 1, shape), data(47, 2, shape)
    seen = Recorded(images.views.values)  # type: ignore[attr-defined]
    train_data = LabelledViews(seen, images.targets_N, images.weights_N)
    ended = train_loop(
        network, selection(network, how.trainable), how, StageData(train_data, validation),
        StageStart(0), Runtime("cpu", output, Progress(), share=share),
    )  # fmt: skip
    (output / f"images-{share.rank}.json").write_text(json.dumps(seen.asked))
    if share.rank == 0:
        weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        np.savez(output / "weights.npz", **weights)
        names = ("val_loss", "val_accuracy", "train_loss", "train_accuracy")
        rows = [[getattr(row, name) for name in names] for row in ended.rows]
        (output / "rows.json").write_text(json.dumps(rows))
    if share.size > 1:
        leave_processes()


if __name__ == "__main__":
    train(Path(sys.argv[1]), json.loads(sys.argv[2]))
