"""The images of validation as a watcher needs them: `watch_reference.npz`, where the recipe asks.

A bundle is given away, and embeddings reveal something of images, so nothing is kept unless it is
asked for: `scores` are probabilities and facts such as brightness, `embeddings` both and these. No
names are kept.

Shape suffixes: N images, C classes, D embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.array_files import (
    arrays_from_bytes,
    arrays_to_bytes,
    text_from_array,
    text_to_array,
)
from holotype.dataset.image_facts import FACTS

WATCH_REFERENCE = "watch_reference.npz"

_ARRAYS = {
    "probabilities": ("float64", 2), "embeddings": ("float16", 2), "unknown": ("float64", 1),
    "targets": ("int64", 1), "groups": ("int64", 1), "formats": ("uint8", 1),
    **dict.fromkeys(FACTS, ("float64", 1)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ValidationImages:
    """What a classifier said of the images of validation, and what they were like.

    Attributes:
        probabilities_NC: float64, of all classes.
        embeddings_ND: float16, of the plain view; of no columns where they are not kept.
        unknown_N: float64, 1 where no known class was seen; nan where that is not said.
        targets_N: int64 class numbers.
        groups_N: int64; images of one group are not independent.
        formats: as Pillow names them; "" where it is not known.
        facts: float64 (N,) of each of `FACTS`; nan where it is not known.
    """

    probabilities_NC: NDArray[np.float64]
    embeddings_ND: NDArray[np.float16]
    unknown_N: NDArray[np.float64]
    targets_N: NDArray[np.int64]
    groups_N: NDArray[np.int64]
    formats: tuple[str, ...]
    facts: Mapping[str, NDArray[np.float64]]

    def to_bytes(self) -> bytes:
        return arrays_to_bytes(
            {
                "probabilities": self.probabilities_NC, "embeddings": self.embeddings_ND,
                "unknown": self.unknown_N, "targets": self.targets_N, "groups": self.groups_N,
                "formats": text_to_array(self.formats), **self.facts,
            }
        )  # fmt: skip


def read_validation_images(
    content: bytes, num_classes: int, embedding_size: int
) -> ValidationImages:
    """Images of validation from untrusted bytes.

    Raises:
        ValueError: they are not what this bundle may hold.
    """
    arrays = arrays_from_bytes(content, _ARRAYS)
    formats = text_from_array(arrays.pop("formats"))
    lengths = {len(formats), *(len(array) for array in arrays.values())}
    if len(lengths) != 1 or not formats:
        raise ValueError(f"rows of {sorted(lengths)} images")
    if arrays["probabilities"].shape[1] != num_classes:
        raise ValueError(f"probabilities of {arrays['probabilities'].shape[1]} classes")
    if arrays["embeddings"].shape[1] not in (0, embedding_size):
        raise ValueError(f"embeddings of {arrays['embeddings'].shape[1]} numbers")
    if not all(np.isfinite(arrays[name]).all() for name in ("probabilities", "embeddings")):
        raise ValueError("probabilities or embeddings that are not finite")
    targets_N = arrays["targets"]
    if targets_N.min() < -1 or targets_N.max() >= num_classes:
        raise ValueError(f"targets outside -1 … {num_classes - 1}")
    return ValidationImages(
        arrays["probabilities"], arrays["embeddings"], arrays["unknown"], targets_N,
        arrays["groups"], formats, {name: arrays[name] for name in FACTS},
    )  # fmt: skip
