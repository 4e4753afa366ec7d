"""Photographs, saved data sets and the search over them, shared by the near-duplicate tests."""

import functools
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.index import Index, read_index
from holotype.dataset.near_duplicates.search import NearDuplicate, find_near_duplicates

_NAMES = (
    "astronaut", "camera", "chelsea", "coffee", "rocket", "moon", "brick", "grass", "coins",
    "gravel", "immunohistochemistry", "hubble_deep_field", "clock",
)  # fmt: skip


@functools.cache
def photographs(count: int, side_px: int) -> dict[str, Image.Image]:
    """The first of scikit-image's photographs by name, none larger than `side_px`."""
    images = {
        name: Image.fromarray(np.asarray(getattr(skimage.data, name)())) for name in _NAMES[:count]
    }
    for image in images.values():
        image.thumbnail((side_px, side_px))
    return images


def save_all(folder: Path, images: dict[str, Image.Image]) -> Index:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    return read_index(folder)


def verified_pairs(index: Index) -> tuple[NearDuplicate, ...]:
    return find_near_duplicates(compute_fingerprints(index), index).pairs


def as_sets(pairs: tuple[NearDuplicate, ...]) -> set[frozenset[str]]:
    return {frozenset((pair.first, pair.second)) for pair in pairs}
