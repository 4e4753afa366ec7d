"""What a head is fitted on: the embeddings of labelled images.

Shape suffixes: N images, D features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Embeddings of images, with their classes, weights and groups.

    Attributes:
        features_ND: float32.
        targets_N: int64 class numbers, from 0 to `num_classes` - 1.
        weights_N: float64, the weight of each image in the loss; at least one is positive.
        groups: images of one group share a fold; "" for an image without a group.
        num_classes: C, classes without an image included.
    """

    features_ND: NDArray[np.float32]
    targets_N: NDArray[np.int64]
    weights_N: NDArray[np.float64]
    groups: Sequence[str]
    num_classes: int

    def __len__(self) -> int:
        return len(self.targets_N)

    def rows(self, rows: NDArray[np.int64]) -> "TrainingData":
        """Some of the images."""
        return replace(
            self,
            features_ND=self.features_ND[rows],
            targets_N=self.targets_N[rows],
            weights_N=self.weights_N[rows],
            groups=[self.groups[row] for row in rows],
        )

    @property
    def counted(self) -> "TrainingData":
        """The images that weigh anything: the others teach nothing, and choose nothing."""
        counted_N = self.weights_N > 0
        return self if counted_N.all() else self.rows(np.flatnonzero(counted_N))

    def of_views(self, features_NVD: NDArray[np.float32]) -> "TrainingData":
        """Each image in V views: N·V rows, image by image, each with the V-th part of its weight.

        The views of an image share a group, so that no fold divides them.
        """
        N, V, D = features_NVD.shape
        groups = [group or f"\0{row}" for row, group in enumerate(self.groups)]
        return replace(
            self,
            features_ND=features_NVD.reshape(N * V, D),
            targets_N=np.repeat(self.targets_N, V),
            weights_N=np.repeat(self.weights_N / V, V),
            groups=[group for group in groups for _ in range(V)],
        )

    @property
    def seen_classes(self) -> tuple[int, ...]:
        """The numbers of the classes that have an image, ascending."""
        return tuple(int(c) for c in np.unique(self.targets_N))
