"""The images of a gallery, or of a query: embeddings, small grey images, and what is known of each.

Shape suffixes: N images, D embedding, S side of a thumbnail, Q queries,
P pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.references import l2_normalized
from holotype.imaging.decode import Image
from holotype.imaging.preprocessing import Preprocessing

THUMBNAIL_SIDE = 48  # pixels; registration needs no more, and 10,000 of them take 23 MB
COARSE_SIDE = 12  # pixels, for the correlation that likely images are found by
_SQUEEZED = Preprocessing(
    THUMBNAIL_SIDE, THUMBNAIL_SIDE, "squash", "bilinear", (0.0,) * 3, (1.0,) * 3
)
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class GalleryImage:
    """What is known of one image.

    Attributes:
        individual: who it shows; "" where that is the question.
        file: its path with forward slashes: of a gallery absolute, of a query as it was named.
        sha256: of its bytes.
        encounter: what was photographed together, such as one dive; "" where it is not known, and
            the images of an individual on one day are taken for one.
        date: as it was given, such as 2026-07-01; "" where it is not known.
        attributes: values such as {"side": "left"}; images that differ in one are never compared.
        added: when it was added, UTC, to the second; "" of a query.
    """

    individual: str
    file: str
    sha256: str
    encounter: str = ""
    date: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    added: str = ""

    @property
    def encounter_key(self) -> str:
        """The encounter; without one the day, since one day's images are alike; else the image."""
        if self.encounter:
            return f"encounter {self.encounter}"
        return f"day {_day(self.date)}" if self.date else f"image {self.sha256}"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "attributes": dict(self.attributes)}


@dataclass(frozen=True, eq=False)
class ImageBlock:
    """Arrays of some images: what one segment of a gallery holds, or one query.

    Attributes:
        images: N of them.
        embeddings_ND: float32, scaled to length 1; may be mapped from a file.
        thumbnails_NSS: uint8 grey, squeezed into a square.
    """

    images: tuple[GalleryImage, ...]
    embeddings_ND: NDArray[np.float32]
    thumbnails_NSS: NDArray[np.uint8]

    def __post_init__(self) -> None:
        N = len(self.images)
        shape = (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
        if len(self.embeddings_ND) != N or self.thumbnails_NSS.shape != shape:
            raise ValueError(
                f"{N} images, embeddings {self.embeddings_ND.shape}, thumbnails "
                f"{self.thumbnails_NSS.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Sequence[int]) -> "ImageBlock":
        """Copies of some rows."""
        kept = np.asarray(rows, np.int64)
        return ImageBlock(
            tuple(self.images[row] for row in rows),
            np.ascontiguousarray(self.embeddings_ND[kept]),
            np.ascontiguousarray(self.thumbnails_NSS[kept]),
        )


@dataclass(frozen=True, eq=False)
class GalleryImages:
    """All images of a gallery as its segments hold them, in the order in which they were added.

    Attributes:
        blocks: the segments.
        state: changes whenever the gallery does.
    """

    blocks: tuple[ImageBlock, ...]
    state: str = ""

    @cached_property
    def images(self) -> tuple[GalleryImage, ...]:
        return tuple(image for block in self.blocks for image in block.images)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[GalleryImage]:
        return iter(self.images)

    @cached_property
    def individuals(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted({image.individual for image in self.images}))

    @cached_property
    def individual_N(self) -> NDArray[np.int64]:
        """The number in `individuals` of every image."""
        number_of = {name: number for number, name in enumerate(self.individuals)}
        return np.array([number_of[image.individual] for image in self.images], np.int64)

    @cached_property
    def attributes_N(self) -> NDArray[np.int64]:
        """A number for the attributes of every image."""
        numbers = self._attribute_numbers
        return np.array([numbers[_attribute_key(image)] for image in self.images], np.int64)

    def attribute_number(self, image: GalleryImage) -> int:
        """The number in `attributes_N` of what may be compared with an image; -1 where nothing."""
        return self._attribute_numbers.get(_attribute_key(image), -1)

    @cached_property
    def _attribute_numbers(self) -> dict[str, int]:
        keys = dict.fromkeys(_attribute_key(image) for image in self.images)
        return {key: number for number, key in enumerate(keys)}

    @cached_property
    def encounter_N(self) -> NDArray[np.object_]:
        return np.array([image.encounter_key for image in self.images], object)

    @cached_property
    def sha256_N(self) -> NDArray[np.object_]:
        return np.array([image.sha256 for image in self.images], object)

    def cosines_QN(self, embeddings_QD: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of every query with every image."""
        parts = [embeddings_QD @ block.embeddings_ND.T for block in self.blocks]
        return np.concatenate(parts, 1) if parts else np.empty((len(embeddings_QD), 0), np.float32)

    def coarse_correlations_QN(self, thumbnails_QSS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The correlation of every query with every image, both at 12 by 12 pixels."""
        return np.asarray(coarse_pixels(thumbnails_QSS) @ self._coarse_NP.T)

    @cached_property
    def _coarse_NP(self) -> NDArray[np.float32]:
        parts = [coarse_pixels(block.thumbnails_NSS) for block in self.blocks]
        return np.concatenate(parts) if parts else np.empty((0, COARSE_SIDE**2), np.float32)

    def thumbnails(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Those of some images, (len(rows), S, S)."""
        return self._rows(rows, [block.thumbnails_NSS for block in self.blocks])

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those of some images, (len(rows), D)."""
        return self._rows(rows, [block.embeddings_ND for block in self.blocks])

    def _rows(self, rows: NDArray[np.int64], arrays: list[NDArray[Any]]) -> NDArray[Any]:
        starts = np.cumsum([0, *(len(array) for array in arrays)])
        of_block = np.searchsorted(starts, rows, side="right") - 1
        found = [arrays[b][r - starts[b]] for b, r in zip(of_block, rows, strict=True)]
        return np.stack(found) if found else np.empty((0, *arrays[0].shape[1:]), arrays[0].dtype)

    def block(self) -> ImageBlock:
        """All of it as one block, in memory."""
        return ImageBlock(
            self.images,
            np.concatenate([block.embeddings_ND for block in self.blocks]),
            np.concatenate([block.thumbnails_NSS for block in self.blocks]),
        )


def _day(text: str) -> str:
    """The day of a date as ISO 8601 writes it, with or without a time; else the text itself."""
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        return text


def _attribute_key(image: GalleryImage) -> str:
    """The attributes of an image as one text: images of different texts are not compared."""
    return "\n".join(f"{name}={value}" for name, value in sorted(image.attributes.items()))


def coarse_pixels(thumbnails_NSS: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails at 12 by 12 pixels, without their mean and scaled to length 1: (N, 144)."""
    N, step = len(thumbnails_NSS), THUMBNAIL_SIDE // COARSE_SIDE
    blocks = thumbnails_NSS.reshape(N, COARSE_SIDE, step, COARSE_SIDE, step)
    pixels_NP = blocks.mean((2, 4), dtype=np.float32).reshape(N, -1)
    return l2_normalized(pixels_NP - pixels_NP.mean(1, keepdims=True))


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """A decoded image in grey levels, squeezed to (S, S)."""
    return np.asarray(_SQUEEZED.frame(image).convert("L"), np.uint8)
