"""A process that adds to a gallery: python -m tests.identification.writers GALLERY NAME COUNT."""

import sys
from dataclasses import replace
from pathlib import Path

from holotype.identification.change_gallery import add_images
from holotype.identification.storage.embed_images import EmbeddedImages
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from tests.identification.individuals import made_block

SIZE, IMAGES = 16, 3
MADE_BY = GalleryManifest(bundle="bundle", digest="d", embedding_size=SIZE)


def add_one(files: GalleryFiles, name: str, number: int) -> None:
    """IMAGES images of one individual, whose hashes begin with the writer's name and number."""
    block = made_block(IMAGES, 1, SIZE)
    images = tuple(
        replace(image, individual=f"{name}-{number}", sha256=f"{name}-{number}-{n}")
        for n, image in enumerate(block.images)
    )
    add_images(files, MADE_BY, EmbeddedImages(replace(block, images=images), (), [], {}))


def main(gallery: str, name: str, count: str) -> None:
    for number in range(int(count)):
        add_one(GalleryFiles(Path(gallery)), name, number)
        print(number, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
