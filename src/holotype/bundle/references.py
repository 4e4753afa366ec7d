"""References: the embeddings of the training images, kept in the bundle where the recipe asks.

They serve similar images and OOD scores. They are kept only with `references: true`, since a
bundle is given away: it then holds the names of the training images and their embeddings, which
reveal something of them.

Shape suffixes: N images, R reference images, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.array_files import (
    arrays_from_bytes,
    arrays_to_bytes,
    text_from_array,
    text_to_array,
)

REFERENCES = "references.npz"
MAX_NAME_LENGTH = 4096  # of a path, on all common systems

_ARRAYS = {"embeddings": ("float16", 2), "targets": ("int64", 1), "names": ("uint8", 1)}
_BLOCK = 4096  # reference images multiplied at once


@dataclass(frozen=True, eq=False)
class References:
    """The embeddings of the images that trained the head.

    Attributes:
        embeddings_RD: float16, the bundle's own `embedding` of the plain view, scaled to length 1
            so that half precision holds it whatever its range; all zeros where it has no length.
        targets_R: int64 class numbers.
        names: the paths of the images in their index.
    """

    embeddings_RD: NDArray[np.float16]
    targets_R: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def norms_R(self) -> NDArray[np.float32]:
        """Of the rows as they were rounded; 1 for rows of zeros."""
        blocks = (
            np.linalg.norm(self.embeddings_RD[start : start + _BLOCK].astype(np.float32), axis=1)
            for start in range(0, len(self), _BLOCK)
        )
        norms_R = np.concatenate([*blocks, np.empty(0, np.float32)])
        return np.where(norms_R > 0, norms_R, 1).astype(np.float32)

    def to_bytes(self) -> bytes:
        return arrays_to_bytes(
            {
                "embeddings": self.embeddings_RD,
                "targets": self.targets_R,
                "names": text_to_array(self.names),
            }
        )


def make_references(
    embeddings_RD: NDArray[np.float32], targets_R: NDArray[np.int64], names: Sequence[str]
) -> References:
    """References from embeddings of any length."""
    if not len(embeddings_RD) == len(targets_R) == len(names):
        raise ValueError("embeddings, targets and names are not of the same images")
    return References(
        l2_normalized(embeddings_RD).astype(np.float16), targets_R.astype(np.int64), tuple(names)
    )


def l2_normalized(embeddings_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every row scaled to length 1; rows of zeros stay."""
    lengths_N1 = np.linalg.norm(embeddings_ND.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(embeddings_ND / np.where(lengths_N1 > 0, lengths_N1, 1), np.float32)


def read_references(content: bytes, num_classes: int, embedding_size: int) -> References:
    """References from untrusted bytes.

    Raises:
        ValueError: they are not what this bundle may hold.
    """
    arrays = arrays_from_bytes(content, _ARRAYS)
    embeddings_RD, targets_R = arrays["embeddings"], arrays["targets"]
    names = text_from_array(arrays["names"])
    if not len(embeddings_RD) == len(targets_R) == len(names) or not names:
        raise ValueError(
            f"{len(embeddings_RD)} embeddings, {len(targets_R)} targets and {len(names)} names"
        )
    if max(map(len, names)) > MAX_NAME_LENGTH:
        raise ValueError(f"a name of {max(map(len, names)):,} characters")
    if embeddings_RD.shape[1] != embedding_size:
        raise ValueError(f"embeddings of {embeddings_RD.shape[1]} numbers, not {embedding_size}")
    if not np.isfinite(embeddings_RD).all():
        raise ValueError("embeddings that are not finite")
    if targets_R.min() < 0 or targets_R.max() >= num_classes:
        raise ValueError(f"targets outside 0 … {num_classes - 1}")
    return References(embeddings_RD, targets_R, names)


def cosines_NR(references: References, embeddings_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of the angle between each image and each reference, in [-1, 1]."""
    unit_ND = l2_normalized(embeddings_ND)
    cosines = np.empty((len(unit_ND), len(references)), np.float32)
    for start in range(0, len(references), _BLOCK):
        block = slice(start, start + _BLOCK)
        reference_BD = references.embeddings_RD[block].astype(np.float32)
        cosines[:, block] = unit_ND @ reference_BD.T / references.norms_R[block]
    return np.clip(cosines, -1, 1)


def nearest(
    references: References, embedding_D: NDArray[np.float32], count: int
) -> list[tuple[int, float]]:
    """The reference images most like one: (row, cosine), the most alike first.

    Args:
        embedding_D: of the image, from the same bundle; of any length.
        count: how many; all of them where there are fewer.
    """
    cosine_R = cosines_NR(references, embedding_D[None])[0]
    order = np.argsort(-cosine_R, kind="stable")[:count]
    return [(int(row), float(cosine_R[row])) for row in order]
