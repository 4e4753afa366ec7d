"""Seeded batches of images: the same order and the same views in every run of the same seed.

Shape suffixes: N images, B images of a batch, C classes.
"""

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.image_sources import ImageFile
from holotype.bundle.onnx_runtime import available_cores
from holotype.dataset.index import Index
from holotype.imaging.decode import decode
from holotype.imaging.decoding_memory import refused_where_memory_ends
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.augmentations import apply_view, sample_view
from holotype.training.data.mixup import BatchMixing, mix_inputs, mix_targets, sample_mix

if TYPE_CHECKING:
    from torch import Tensor

MEMORY_BYTES = 2**30  # of framed images: 7,000 of 224 pixels in colour, 110,000 of 96 in grey


class ViewSource(Protocol):
    """Images in several views, as arrays at one cut of a network."""

    def __len__(self) -> int: ...
    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]: ...


class FramedImages:
    """Framed images, 8 bits, before any augmentation.

    Each is decoded when it is first requested. The first ones stay in memory; the others are
    decoded each time, since every epoch requests all of them and no order of eviction would help.

    Args:
        memory_bytes: the most that stays in memory.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocessing: Preprocessing,
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.files = files
        self._preprocessing = preprocessing
        self._bytes_left = memory_bytes
        self._kept: dict[int, PillowImage.Image] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> PillowImage.Image:
        """The image, which the caller must not change.

        Raises:
            ImageError: it became unreadable, or its content changed, since it was indexed.
        """
        kept = self._kept.get(position)
        return self._read(position) if kept is None else kept

    def _read(self, position: int) -> PillowImage.Image:
        file = self.files[position]
        content, _ = file.read()
        image = decode(content, name=file.id, minimum_size=self._preprocessing.minimum_size)
        with refused_where_memory_ends(file.id):
            framed = self._preprocessing.frame(image)
        size = framed.width * framed.height * len(framed.getbands())
        with self._lock:
            if size <= self._bytes_left and position not in self._kept:
                self._bytes_left -= size
                self._kept[position] = framed
        return framed


def image_files(index: Index) -> list[ImageFile]:
    """The images of an index, in its order."""
    return [
        ImageFile(path, index.file(path), sha256)
        for path, sha256 in zip(index.table["path"], index.table["sha256"], strict=True)
    ]


class AugmentedImages:
    """Images augmented each time they are requested, for networks without a frozen part.

    Args:
        augmentation, seed: what the views are drawn from.
        memory_bytes: of framed images that stay in memory between two epochs.
    """

    def __init__(
        self,
        index: Index,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        *,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        files = image_files(index)
        self._framed = FramedImages(files, preprocessing, memory_bytes=memory_bytes)
        self._preprocessing = preprocessing
        self._augmentation = augmentation
        self._seed = seed
        self._pool = ThreadPoolExecutor(available_cores())

    def __len__(self) -> int:
        return len(self._framed)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        return np.stack(list(self._pool.map(self.view_tensor, images, views)))

    def view_tensor(self, image: int, number: int) -> NDArray[np.float32]:
        """The model input (3, H, W) of one view."""
        sha256 = self._framed.files[image].sha256
        view = sample_view(self._augmentation, seed=self._seed, sha256=sha256, number=number)
        return self._preprocessing.tensor(apply_view(self._framed[image], view))


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """Images in several views, with their classes and weights.

    Attributes:
        targets_N: int64 class numbers.
        weights_N: float32, the weight of each image in the loss.
    """

    views: ViewSource
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Tensors on the CPU.

    Attributes:
        inputs: (B, …).
        targets: int64 class numbers (B,), or float32 soft targets (B, C) of mixed images.
        weights: float32 (B,).
    """

    inputs: "Tensor"
    targets: "Tensor"
    weights: "Tensor"


@dataclass(frozen=True)
class BatchOptions:
    """How training images become batches.

    Attributes:
        views: of each image.
        batch_size: the largest number of images in a batch; of an odd number in batches of two,
            one batch has three.
        seed: of the order, the views and the mixing.
        balanced: draw as many images with replacement, every class equally often.
        mixing: of the images of a batch and their labels.
    """

    views: int
    batch_size: int
    seed: int
    balanced: bool = False
    mixing: BatchMixing | None = None


def training_batches(
    data: LabelledViews, options: BatchOptions, epoch: int, skip_batches: int = 0
) -> Generator[LabelledBatch]:
    """Every image once, in a new order, each under one of its views.

    An image takes its views in turn from epoch to epoch, starting with a random one, so that after
    `views` epochs each was seen equally often. While one batch is trained on, the next is made.

    Args:
        epoch: from 1.
        skip_batches: the first batches, which are not made.
    """
    seed, views, mixing = options.seed, options.views, options.mixing
    starts_N = np.random.default_rng([seed, 0]).integers(views, size=len(data.targets_N))
    order_N = _order(data.targets_N, np.random.default_rng([seed, epoch]), options.balanced)
    parts = np.array_split(order_N, num_batches(len(order_N), options.batch_size))

    def batches() -> Iterator[LabelledBatch]:
        for step, rows in enumerate(parts[skip_batches:], start=skip_batches):
            batch = _batch(data, rows, (starts_N[rows] + epoch) % views)
            yield batch if mixing is None else _mixed(batch, mixing, seed, epoch, step)

    return _prefetch(batches())


def _order(
    targets_N: NDArray[np.int64], rng: np.random.Generator, balanced: bool
) -> NDArray[np.int64]:
    if not balanced:
        return rng.permutation(len(targets_N))
    of_class_C = np.bincount(targets_N)
    chance_N = 1 / of_class_C[targets_N]
    return rng.choice(len(targets_N), size=len(targets_N), p=chance_N / chance_N.sum())


def validation_batches(data: LabelledViews, batch_size: int) -> Generator[LabelledBatch]:
    """Every image once, in view 0, in the order of the index."""
    rows_N = np.arange(len(data.targets_N))
    parts = np.array_split(rows_N, num_batches(len(rows_N), batch_size))
    return _prefetch(_batch(data, rows, np.zeros_like(rows)) for rows in parts)


def num_batches(images: int, batch_size: int) -> int:
    """Batches of almost equal size, none above `batch_size` and none of one image.

    Batch norm cannot train on one image: in batches of two, an odd one makes a batch of three.
    """
    return max(1, min(-(-images // batch_size), images // 2))


def _batch(data: LabelledViews, rows: NDArray[np.int64], views: NDArray[np.int64]) -> LabelledBatch:
    import torch

    inputs = data.views.batch(rows.tolist(), views.tolist())
    return LabelledBatch(
        torch.from_numpy(inputs),
        torch.from_numpy(data.targets_N[rows]),
        torch.from_numpy(data.weights_N[rows]),
    )


def _mixed(
    batch: LabelledBatch, mixing: BatchMixing, seed: int, epoch: int, step: int
) -> LabelledBatch:
    import torch

    mix = sample_mix(mixing, seed=seed, epoch=epoch, step=step, shape=tuple(batch.inputs.shape))
    if mix is None:
        return batch
    soft_BC, weights_B = mix_targets(
        batch.targets.numpy(), batch.weights.numpy(), mix, mixing.num_classes
    )
    return LabelledBatch(
        mix_inputs(batch.inputs, mix), torch.from_numpy(soft_BC), torch.from_numpy(weights_B)
    )


def _prefetch(batches: Iterable[LabelledBatch]) -> Generator[LabelledBatch]:
    """The same batches; a thread makes the next one while the last one is used."""
    source = iter(batches)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, source, None)
        while (batch := pending.result()) is not None:
            pending = pool.submit(next, source, None)
            yield batch
