"""Seeded batches of images: the same order and the same views in every run of the same seed.

Shape suffixes: N images, B images of a batch, C classes.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
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
from holotype.training.data.decoding_processes import BATCHES_AHEAD, DecodingProcesses
from holotype.training.data.mixup import BatchMixing, mix_inputs, mix_targets, sample_mix
from holotype.training.metric_learning.identity_batches import identity_batches
from holotype.training.process_group import WHOLE, Share

if TYPE_CHECKING:
    from torch import Tensor

MEMORY_BYTES = 2**30  # of framed images: 7,000 of 224 pixels in colour, 110,000 of 96 in grey


MakeBatch = Callable[[], "LabelledBatch"]


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
        self._memory_bytes = memory_bytes
        self._bytes_left = memory_bytes
        self._kept: dict[int, PillowImage.Image] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Another process decodes them itself."""
        make = partial(FramedImages, memory_bytes=self._memory_bytes)
        return make, (self.files, self._preprocessing)

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
        image = decode(
            content, name=file.id, minimum_size=self._preprocessing.minimum_size,
            **self._preprocessing.decode_options._asdict(),
        )  # fmt: skip
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
        processes: that decode; 0: threads of this one do.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        *,
        memory_bytes: int = MEMORY_BYTES,
        processes: int = 0,
    ) -> None:
        self._framed = FramedImages(files, preprocessing, memory_bytes=memory_bytes)
        self._memory_bytes = memory_bytes
        self.preprocessing = preprocessing
        self._augmentation = augmentation
        self._seed = seed
        self._num_processes = processes
        self._pool = ThreadPoolExecutor(available_cores())

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._like(self._memory_bytes, self._num_processes)

    def _like(self, memory_bytes: int, processes: int) -> tuple[Any, tuple[Any, ...]]:
        make = partial(AugmentedImages, memory_bytes=memory_bytes, processes=processes)
        return make, (self._framed.files, self.preprocessing, self._augmentation, self._seed)

    def __len__(self) -> int:
        return len(self._framed)

    @property
    def batches_ahead(self) -> int:
        """How many batches are made side by side."""
        return BATCHES_AHEAD if self._num_processes else 1

    @cached_property
    def _processes(self) -> DecodingProcesses:
        count = self._num_processes
        make, arguments = self._like(self._memory_bytes // count, 0)
        return DecodingProcesses(make(*arguments), count)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        if self._num_processes:
            return self._processes.batch(images, views)
        return np.stack(list(self._pool.map(self._tensor, images, views)))

    def _tensor(self, image: int, number: int) -> NDArray[np.float32]:
        return self.preprocessing.tensor(self.framed_view(image, number))

    def framed_view(self, image: int, number: int) -> PillowImage.Image:
        """One view, 8 bits."""
        sha256 = self._framed.files[image].sha256
        view = sample_view(self._augmentation, seed=self._seed, sha256=sha256, number=number)
        return apply_view(self._framed[image], view)


def decoding_processes(device: str, share: Share) -> int:
    """How many processes decode for a device: on a GPU one a core; on a CPU none, since it is busy.

    The cores are shared by all processes that train on this host.
    """
    return 0 if device == "cpu" else max(1, available_cores() // share.size)


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """Images in several views, with their classes and weights.

    Attributes:
        targets_N: int64 class numbers.
        weights_N: float32, the weight of each image in the loss.
        teacher_NC: float32, what a teacher thinks of each image; None without one.
        encounters_N: int64; images of one number are not searched among each other. None where
            nobody searches.
    """

    views: ViewSource
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float32]
    teacher_NC: NDArray[np.float32] | None = None
    encounters_N: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Tensors on the CPU.

    Attributes:
        inputs: (B, …).
        targets: int64 class numbers (B,), or float32 soft targets (B, C) of mixed images.
        weights: float32 (B,).
        weight_of_all: of the whole batch, of which a process may hold a share.
        teacher: float32 probabilities (B, C) at the temperature of distillation.
    """

    inputs: "Tensor"
    targets: "Tensor"
    weights: "Tensor"
    weight_of_all: float
    teacher: "Tensor | None" = None


@dataclass(frozen=True)
class BatchOptions:
    """How training images become batches.

    Attributes:
        views: of each image.
        batch_size: the largest number of images in a batch; of an odd number in batches of two,
            one batch has three.
        seed: of the order, the views and the mixing.
        balanced: draw as many images with replacement, every class equally often.
        images_per_identity: fill batches with so many images of each of a few classes; None: with
            images of any class.
        mixing: of the images of a batch and their labels.
        share: of every batch that is made; the batches are the same for all processes.
    """

    views: int
    batch_size: int
    seed: int
    balanced: bool = False
    images_per_identity: int | None = None
    mixing: BatchMixing | None = None
    share: Share = WHOLE


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
    parts = _batch_rows(data.targets_N, options, np.random.default_rng([seed, epoch]))

    def batches() -> Iterator[MakeBatch]:
        for step, rows in enumerate(parts[skip_batches:], start=skip_batches):
            views_B = (starts_N[rows] + epoch) % views
            if mixing is None:
                yield partial(_batch, data, rows, views_B, options.share)
            else:
                yield partial(_mixed_batch, data, rows, views_B, options, (epoch, step))

    return _prefetch(batches(), data.views)


def _batch_rows(
    targets_N: NDArray[np.int64], options: BatchOptions, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """The images of every batch of an epoch."""
    count = num_batches(len(targets_N), options.batch_size)
    if options.images_per_identity is not None:
        return identity_batches(
            targets_N, rng, num_batches=count, batch_size=options.batch_size,
            images_per_identity=options.images_per_identity,
        )  # fmt: skip
    return np.array_split(_order(targets_N, rng, options.balanced), count)


def _order(
    targets_N: NDArray[np.int64], rng: np.random.Generator, balanced: bool
) -> NDArray[np.int64]:
    if not balanced:
        return rng.permutation(len(targets_N))
    of_class_C = np.bincount(targets_N)
    chance_N = 1 / of_class_C[targets_N]
    return rng.choice(len(targets_N), size=len(targets_N), p=chance_N / chance_N.sum())


def validation_batches(
    data: LabelledViews, batch_size: int, share: Share = WHOLE
) -> Generator[LabelledBatch]:
    """Every image once, in view 0, in the order of the index; or the share of one process."""
    rows_N = np.arange(len(data.targets_N))[share.slice_of(len(data.targets_N))]
    parts = np.array_split(rows_N, num_batches(len(rows_N), batch_size)) if len(rows_N) else []
    made = (partial(_batch, data, rows, np.zeros_like(rows), WHOLE) for rows in parts)
    return _prefetch(made, data.views)


def num_batches(images: int, batch_size: int) -> int:
    """Batches of almost equal size, none above `batch_size` and none of one image.

    Batch norm cannot train on one image: in batches of two, an odd one makes a batch of three.
    """
    return max(1, min(-(-images // batch_size), images // 2))


def _batch(
    data: LabelledViews, rows: NDArray[np.int64], views: NDArray[np.int64], share: Share
) -> LabelledBatch:
    """The share of the batch that has these rows."""
    import torch

    part = share.slice_of(len(rows))
    own, own_views = rows[part], views[part]
    inputs = data.views.batch(own.tolist(), own_views.tolist())
    return LabelledBatch(
        torch.from_numpy(inputs),
        torch.from_numpy(data.targets_N[own]),
        torch.from_numpy(data.weights_N[own]),
        float(data.weights_N[rows].sum()),
        None if data.teacher_NC is None else torch.from_numpy(data.teacher_NC[own]),
    )


def _mixed_batch(
    data: LabelledViews,
    rows: NDArray[np.int64],
    views: NDArray[np.int64],
    options: BatchOptions,
    place: tuple[int, int],
) -> LabelledBatch:
    """The share of a mixed batch; the partners of its images are made too.

    Args:
        place: epoch and step, from which the mix is drawn.
    """
    import torch

    assert options.mixing is not None
    own_B = np.arange(len(rows))[options.share.slice_of(len(rows))]
    inputs = torch.from_numpy(data.views.batch(rows[own_B].tolist(), views[own_B].tolist()))
    mix = sample_mix(
        options.mixing, seed=options.seed, epoch=place[0], step=place[1],
        shape=(len(rows), *inputs.shape[1:]),
    )  # fmt: skip
    targets_B, weights_B = data.targets_N[rows], data.weights_N[rows]
    weight_of_all = float(weights_B.sum())
    if mix is None:
        return LabelledBatch(
            inputs, torch.from_numpy(targets_B[own_B]), torch.from_numpy(weights_B[own_B]),
            weight_of_all,
        )  # fmt: skip
    partners = None
    if options.share.size > 1:
        partners_B = mix.partners_B[own_B]
        partners = torch.from_numpy(
            data.views.batch(rows[partners_B].tolist(), views[partners_B].tolist())
        )
    soft_BC, mixed_B = mix_targets(targets_B, weights_B, mix, options.mixing.num_classes)
    return LabelledBatch(
        mix_inputs(inputs, mix, partners), torch.from_numpy(soft_BC[own_B]),
        torch.from_numpy(mixed_B[own_B]), weight_of_all,
    )  # fmt: skip


def _prefetch(batches: Iterable[MakeBatch], views: ViewSource) -> Generator[LabelledBatch]:
    """The batches in their order; the next ones are made while the last one is used."""
    ahead = getattr(views, "batches_ahead", 1)
    source = iter(batches)
    with ThreadPoolExecutor(ahead) as pool:
        pending = deque(pool.submit(make) for make in islice(source, ahead))
        while pending:
            batch = pending.popleft().result()
            pending.extend(pool.submit(make) for make in islice(source, 1))
            yield batch
