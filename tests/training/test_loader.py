"""Seeded batches of images that are changed anew each time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

import holotype.training.data.loader as loader
from holotype.dataset.index import Index, read_index
from holotype.errors import ImageError
from holotype.imaging.decode import decode
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.augmentation_config import Augmentation, MixRecipe
from holotype.training.data.augmentations import apply_view, sample_view
from holotype.training.data.loader import (
    AugmentedImages,
    BatchOptions,
    LabelledBatch,
    LabelledViews,
    image_files,
    num_batches,
    training_batches,
)
from holotype.training.data.mixup import BatchMixing, mix_inputs, sample_mix

HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(16, 16, "squash", "bilinear", HALF, HALF)
FRAME_BYTES = 16 * 16 * 3


@pytest.fixture
def index(tmp_path: Path) -> Index:
    rng = np.random.default_rng(0)
    for n in range(10):
        file = tmp_path / "data" / f"class{n % 2}" / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(file)
    return read_index(tmp_path / "data")


def _labelled(index: Index, **changes: int) -> LabelledViews:
    views = AugmentedImages(image_files(index), PREPROCESSING, Augmentation(), 3, **changes)
    targets = np.array([index.classes.index(label) for label in index.table["label"]])
    return LabelledViews(views, targets, np.ones(len(index), np.float32))


def _batches(
    data: LabelledViews, epoch: int, mixing: BatchMixing | None = None
) -> list[LabelledBatch]:
    return list(training_batches(data, BatchOptions(4, 4, seed=3, mixing=mixing), epoch))


class _Decodes:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def counted(*args: object, **kwargs: object) -> object:
            self.count += 1
            return decode(*args, **kwargs)

        monkeypatch.setattr(loader, "decode", counted)


def test_a_live_view_is_the_framed_image_changed_as_its_view_says(index: Index) -> None:
    found = _labelled(index).views.batch([7, 2], [2, 0])
    row = index.table.iloc[7]
    view = sample_view(Augmentation(), seed=3, sha256=row.sha256, number=2)
    framed = PREPROCESSING.frame(decode(index.file(row.path)))
    expected = PREPROCESSING.tensor(apply_view(framed, view))
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found[1], PREPROCESSING.load(index.file(index.table["path"].iloc[2])))


def test_a_second_epoch_decodes_nothing(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    decodes = _Decodes(monkeypatch)
    data = _labelled(index)
    _batches(data, 1)
    assert decodes.count == 10
    _batches(data, 2)
    assert decodes.count == 10


def test_beyond_the_memory_bound_images_are_decoded_anew_and_are_the_same(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodes = _Decodes(monkeypatch)
    bounded, free = _labelled(index, memory_bytes=6 * FRAME_BYTES), _labelled(index)
    for epoch in (1, 2):
        for one, other in zip(_batches(bounded, epoch), _batches(free, epoch), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)
    assert decodes.count == 10 + (10 + 4)  # all at once; then those that found no room again


def test_an_image_that_changed_since_the_index_is_refused(index: Index) -> None:
    index.file(index.table["path"].iloc[0]).write_bytes(b"something else")
    with pytest.raises(ImageError, match="changed"):
        _batches(_labelled(index), 1)


def test_batches_that_nobody_waits_for_are_left_alone(index: Index) -> None:
    batches = training_batches(_labelled(index), BatchOptions(4, 4, seed=3), 1)
    first = next(iter(batches))
    batches.close()
    assert torch.equal(first.inputs, _batches(_labelled(index), 1)[0].inputs)


def test_mixed_batches_have_soft_targets_and_the_others_class_numbers(index: Index) -> None:
    mixing = BatchMixing(MixRecipe(probability=0.5, alpha=1.0), None, 2)
    data, kinds = _labelled(index), set()
    for epoch in range(1, 5):
        plain = _batches(data, epoch)
        for step, batch in enumerate(_batches(data, epoch, mixing)):
            mix = sample_mix(
                mixing, seed=3, epoch=epoch, step=step, shape=tuple(batch.inputs.shape)
            )
            kinds.add(batch.targets.dtype)
            if mix is None:
                assert torch.equal(batch.inputs, plain[step].inputs)
                assert batch.targets.shape == (len(batch.inputs),)
            else:
                assert torch.equal(batch.inputs, mix_inputs(plain[step].inputs, mix))
                assert batch.targets.shape == (len(batch.inputs), 2)
                assert torch.allclose(batch.targets.sum(dim=1), torch.ones(len(batch.inputs)))
    assert kinds == {torch.int64, torch.float32}


@pytest.mark.parametrize(
    ("images", "batch_size", "expected"),
    [(5, 2, [3, 2]), (3, 2, [3]), (4, 2, [2, 2]), (2, 2, [2]), (1, 2, [1]), (7, 3, [3, 2, 2])],
)
def test_no_batch_has_one_image_unless_there_is_but_one(
    images: int, batch_size: int, expected: list[int]
) -> None:
    batches = np.array_split(np.arange(images), num_batches(images, batch_size))
    assert [len(batch) for batch in batches] == expected


def test_batches_change_only_where_one_would_have_one_image() -> None:
    for batch_size in range(2, 70):
        for images in range(1, 400):
            plain = -(-images // batch_size)
            if images == 1 or images // plain > 1:
                assert num_batches(images, batch_size) == plain
            else:
                assert batch_size == 2
