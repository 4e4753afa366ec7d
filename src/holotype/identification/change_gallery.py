"""Add, rename and remove: a change is made while the gallery is held, and written as a whole."""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from holotype.errors import GalleryError, UnknownIndividual, UsageError, did_you_mean
from holotype.identification.gallery_result import Addition, NameConflict
from holotype.identification.storage.embed_images import EmbeddedImages
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from holotype.identification.storage.gallery_images import GalleryImage, GalleryImages
from holotype.progress import pluralize


def add_images(files: GalleryFiles, made_by: GalleryManifest, found: EmbeddedImages) -> Addition:
    """Add images that are not there yet, and make the gallery where there is none.

    Args:
        made_by: the gallery as it is made where there is none, without segments.
        found: embedded by the gallery's classifier, each with an individual.

    Raises:
        GalleryError: another process made it meanwhile, with another classifier or attributes.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with files.writing():
        if not files.exists:
            files.create(made_by)
        manifest, before = files.read()
        if (manifest.digest, manifest.attributes) != (made_by.digest, made_by.attributes):
            raise GalleryError(
                f"{str(files.path)!r} was made by another process meanwhile, with another "
                "classifier or other attributes; look at it, and add again."
            )
        known = {image.sha256: image for image in before}
        individuals = set(before.individuals)
        rows, conflicts, num_known = [], [], 0
        for row, image in enumerate(found.block.images):
            there = known.get(image.sha256)
            if there is None:
                known[image.sha256] = image
                rows.append(row)
            elif there.individual == image.individual:
                num_known += 1
            else:
                conflicts.append(
                    NameConflict(image.file, image.individual, there.individual, there.file)
                )
        block = found.block.select(rows)
        block = replace(block, images=tuple(replace(one, added=now) for one in block.images))
        if rows:
            files.append(block)
        added = dict.fromkeys(image.individual for image in block.images)
        return Addition(
            num_added=len(rows),
            num_known=num_known,
            new_individuals=tuple(name for name in added if name not in individuals),
            conflicts=tuple(conflicts),
            refused=tuple(found.refused),
            num_images=len(before) + len(rows),
            num_individuals=len(individuals | set(added)),
            warnings=found.warnings,
        )


@dataclass(frozen=True)
class GalleryChange:
    """What `rename` or `remove` did: a sentence, and how many images it was about."""

    text: str
    num_images: int

    def __str__(self) -> str:
        return self.text


def rename_individual(files: GalleryFiles, individual: str, to: str) -> GalleryChange:
    """Give an individual another name; one that exists takes its images too.

    Raises:
        UnknownIndividual: nobody is called so.
        UsageError: the new name is empty, or the old one.
    """
    if not to.strip() or to.strip() == individual:
        raise UsageError(f"the new name is {to!r}; expected another one than {individual!r}.")

    def renamed(image: GalleryImage) -> GalleryImage:
        return replace(image, individual=to.strip()) if image.individual == individual else image

    with files.writing():
        _, gallery = files.read()
        require_individual(gallery, individual)
        is_joined = to.strip() in gallery.individuals
        block = gallery.block()
        files.rewrite(replace(block, images=tuple(map(renamed, block.images))))
    count = sum(image.individual == individual for image in gallery)
    what = "joined with" if is_joined else "is now called"
    return GalleryChange(f"{individual} {what} {to.strip()}: {pluralize(count, 'image')}", count)


def remove_images(files: GalleryFiles, individual: str, file: str | None) -> GalleryChange:
    """Remove an individual, or one image of it.

    Args:
        file: the image, as `history` names it, or by a path from here.

    Raises:
        UnknownIndividual: nobody is called so.
        UsageError: the individual has no such image.
    """

    names = () if file is None else (file, Path(os.path.abspath(file)).as_posix())

    def is_meant(image: GalleryImage) -> bool:
        return image.individual == individual and (file is None or image.file in names)

    with files.writing():
        _, gallery = files.read()
        require_individual(gallery, individual)
        kept = [row for row, image in enumerate(gallery) if not is_meant(image)]
        count = len(gallery) - len(kept)
        if not count:
            raise UsageError(
                f"{individual!r} has no image {file!r}; holotype identify history names them."
            )
        files.rewrite(gallery.block().select(kept))
    return GalleryChange(f"removed {pluralize(count, 'image')} of {individual}", count)


def require_individual(gallery: GalleryImages, name: str) -> None:
    """Refuse a name that nobody has.

    Raises:
        UnknownIndividual: nobody is called so.
    """
    if name not in gallery.individuals:
        raise UnknownIndividual(
            f"the gallery has no individual {name!r}{did_you_mean(name, gallery.individuals)}"
        )
