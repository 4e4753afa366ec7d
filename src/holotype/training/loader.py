"""Index -> seeded batches: the same order and the same views in every run of the same seed.

Shape suffixes: B pictures of a batch.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import available_cores
from holotype.bundle.inference import ImageFile
from holotype.dataset.index import Index
from holotype.images import decode
from holotype.preprocessing import Preprocessing
from holotype.training.augment import draw_view, look
from holotype.training.recipe import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class Views(Protocol):
    """Something that has pictures under several views, as arrays for one cut of a network."""

    def __len__(self) -> int: ...

    def batch(self, pictures: list[int], views: list[int]) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class LiveViews:
    """Pictures decoded and changed anew each time: for networks with no frozen part."""

    index: Index
    preprocessing: Preprocessing
    augmentation: Augmentation
    seed: int

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, pictures: list[int], views: list[int]) -> NDArray[Any]:
        with ThreadPoolExecutor(available_cores()) as pool:
            return np.stack(list(pool.map(self._one, pictures, views)))

    def _one(self, picture: int, number: int) -> NDArray[np.float32]:
        row = self.index.table.iloc[picture]
        content, sha256 = ImageFile(row.path, self.index.file(row.path), row.sha256).read()
        image = decode(content, name=row.path, minimum_size=self.preprocessing.minimum_size)
        view = draw_view(self.augmentation, seed=self.seed, sha256=sha256, number=number)
        framed = look(self.preprocessing.frame(image), view, self.preprocessing.background)
        return self.preprocessing.tensor(framed)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Pictures under views, with what is true of them.

    Attributes:
        targets_N: int64 class numbers.
        weights_N: float32; what each picture weighs in the loss.
    """

    views: Views
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs (B, …), targets (B,) and weights (B,) as tensors on the CPU."""

    inputs: "Tensor"
    targets: "Tensor"
    weights: "Tensor"


def training_batches(
    data: Labelled, *, views: int, batch_size: int, seed: int, epoch: int
) -> Iterator[Batch]:
    """Every picture once, in a new order, each under one of its views.

    A picture goes through its views from epoch to epoch, from a random start, so that after
    `views` epochs each was seen equally often.
    """
    starts_N = np.random.default_rng([seed, 0]).integers(views, size=len(data.targets_N))
    order_N = np.random.default_rng([seed, epoch]).permutation(len(data.targets_N))
    for rows in np.array_split(order_N, number_of_batches(len(order_N), batch_size)):
        yield _batch(data, rows, (starts_N[rows] + epoch) % views)


def validation_batches(data: Labelled, batch_size: int) -> Iterator[Batch]:
    """Every picture once as it is, in the order of the index."""
    rows_N = np.arange(len(data.targets_N))
    for rows in np.array_split(rows_N, number_of_batches(len(rows_N), batch_size)):
        yield _batch(data, rows, np.zeros_like(rows))


def number_of_batches(pictures: int, batch_size: int) -> int:
    """Batches of almost equal size, none above `batch_size`."""
    return max(1, -(-pictures // batch_size))


def _batch(data: Labelled, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Batch:
    import torch

    inputs = data.views.batch(rows.tolist(), views.tolist())
    return Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(data.targets_N[rows]),
        torch.from_numpy(data.weights_N[rows]),
    )
