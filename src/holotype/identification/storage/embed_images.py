"""From images to what a gallery keeps of them: an embedding of length 1 and a thumbnail.

Shape suffixes: N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageFile, ImageSource
from holotype.bundle.onnx_runtime import map_in_threads
from holotype.bundle.references import l2_normalized
from holotype.errors import ImageError
from holotype.identification.storage.gallery_images import (
    THUMBNAIL_SIDE,
    ImageBlock,
    thumbnail,
)
from holotype.identification.storage.image_listing import ListedSource
from holotype.progress import Progress

_BATCH = 4


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """The images that could be used, and why the others could not.

    Attributes:
        block: those that could.
        sources: what they were read from.
        refused: the others.
        warnings: id of an image -> what of it is not used.
    """

    block: ImageBlock
    sources: tuple[ImageSource, ...]
    refused: list[ImageError]
    warnings: dict[str, tuple[str, ...]]


def embed_images(
    bundle: Bundle, listed: Sequence[ListedSource], progress: Progress, *, use_cache: bool = True
) -> EmbeddedImages:
    """Embed images, and make the thumbnails that pairs are registered by."""
    sources = [
        replace(source, sha256=image.sha256) if isinstance(source, ImageFile) else source
        for image, source in listed
    ]
    with progress.bar("embedding") as update:
        found = embed(
            bundle, sources, use_cache=use_cache,
            on_progress=lambda done: update(done, len(sources)),
        )  # fmt: skip

    def thumbnails(batch: range) -> list[np.ndarray]:
        made = []
        for number in batch:
            decode_at, _ = sources[found.positions[number]].open()
            size = (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE)
            made.append(thumbnail(decode_at(size, bundle.preprocessing.decode_options)))
        return made

    N = len(found.positions)
    batches = map_in_threads(thumbnails, N, batch_size=_BATCH)
    small = [one for batch in batches for one in batch]
    images = tuple(
        replace(listed[position][0], sha256=sha256)
        for position, sha256 in zip(found.positions, found.sha256, strict=True)
    )
    empty = np.empty((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    block = ImageBlock(
        images, l2_normalized(found.embeddings_ND), np.stack(small) if small else empty
    )
    used = tuple(sources[position] for position in found.positions)
    return EmbeddedImages(block, used, found.refused, found.warnings)
