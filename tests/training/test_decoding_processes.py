"""Decoding in processes of their own gives what threads give, bit for bit."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from holotype.dataset.index import Index, read_index
from holotype.errors import ImageError
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.loader import (
    AugmentedImages,
    BatchOptions,
    LabelledViews,
    decoding_processes,
    image_files,
    training_batches,
)
from holotype.training.process_group import Share
from tests.bundle.tiny import write_images

PREPROCESSING = Preprocessing(32, 32, "squash", "bicubic", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    for seed, label in enumerate(("a", "b")):
        write_images(tmp_path / "images" / label, 9, seed)
    grey = next((tmp_path / "images").rglob("*.png"))
    Image.open(grey).convert("L").save(grey)
    return read_index(tmp_path / "images")


def _images(index: Index, processes: int) -> AugmentedImages:
    return AugmentedImages(
        image_files(index), PREPROCESSING, Augmentation(), 3, processes=processes
    )


def _batches(images: AugmentedImages) -> list[torch.Tensor]:
    count = len(images)
    data = LabelledViews(images, np.zeros(count, np.int64), np.ones(count, np.float32))
    return [
        batch.inputs
        for epoch in (1, 2)
        for batch in training_batches(data, BatchOptions(5, 4, seed=1), epoch)
    ]


def test_the_batches_are_those_of_threads_in_the_same_order(index: Index) -> None:
    in_processes = _images(index, 2)
    expected, found = _batches(_images(index, 0)), _batches(in_processes)
    in_processes._processes.close()
    assert len(found) == len(expected) == 10
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_an_image_that_became_unreadable_is_named(index: Index) -> None:
    images = _images(index, 1)
    images.batch([0], [0])
    index.file(index.table["path"][1]).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"00[01]"):
        images.batch([0, 1], [0, 0])
    assert images.batch([0], [1]).shape == (1, 3, 32, 32)  # the process goes on
    images._processes.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_the_batches_that_a_checkpoint_waits_for(
    index: Index, number: signal.Signals
) -> None:
    images = _images(index, 1)
    images.batch([0], [0])
    (process,) = images._processes._processes
    process.send_signal(number)
    assert images.batch([0], [1]).shape == (1, 3, 32, 32)
    images._processes.close()
    assert process.returncode == 0


def test_a_cpu_trains_with_threads_and_a_gpu_with_a_process_for_every_core() -> None:
    assert decoding_processes("cpu", Share()) == 0
    assert decoding_processes("cuda", Share()) >= 1
    assert decoding_processes("cuda", Share(0, 1000)) == 1
