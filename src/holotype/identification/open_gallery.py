"""A gallery that is open: its images, its classifier, and what was fitted on them."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from holotype.bundle.image_sources import Images
from holotype.errors import CorruptFile, EmptyDataset, GalleryError, UsageError, did_you_mean
from holotype.extras import with_install_advice
from holotype.files import read_json, reading, write_json
from holotype.identification.matching.gallery_calibration import (
    DEFAULT_RATE,
    Calibration,
    calibrate,
)
from holotype.identification.new_individual import require_rate
from holotype.identification.query_gallery import FittedGallery
from holotype.identification.storage.embed_images import EmbeddedImages, embed_images
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from holotype.identification.storage.gallery_images import GalleryImages
from holotype.identification.storage.image_listing import KnownFacts, list_images
from holotype.pipeline.classifier import Classifier, load
from holotype.progress import Progress, default_progress

PathLike = str | os.PathLike[str]
Attributes = Mapping[str, str | None]

CALIBRATION = "calibration.json"
SMALL = 1000  # images; a larger gallery is calibrated again when it has grown by a tenth


class OpenGallery:
    """What `Gallery` works with.

    Attributes:
        path: the folder.
        files: what is written in it.
    """

    def __init__(self, gallery: PathLike, classifier: PathLike | None = None) -> None:
        self.path = Path(gallery)
        self.files = GalleryFiles(self.path)
        self._named = classifier
        self._images: GalleryImages | None = None
        if classifier is None:
            self.files.read_manifest()

    @cached_property
    def classifier(self) -> Classifier:
        """What embeds the images of this gallery.

        Raises:
            GalleryError: it is another one than the gallery was made with, or is not there.
        """
        if not self.files.exists:
            assert self._named is not None
            return load(self._named)
        manifest = self.files.read_manifest()
        place = self._named or self.path / manifest.bundle
        if self._named is None and not Path(place).exists():
            raise GalleryError(
                f"the classifier of {str(self.path)!r} is not at {manifest.bundle!r}; name it: "
                "--classifier RUN."
            )
        classifier = load(place)
        if classifier.digest != manifest.digest:
            raise GalleryError(
                f"{str(self.path)!r} holds embeddings of the bundle {manifest.digest[:12]}…, and "
                f"{str(place)!r} is {classifier.digest[:12]}…: embeddings of two bundles cannot be "
                "compared. Name the bundle that it was made with, or make another gallery."
            )
        return classifier

    @property
    def images(self) -> GalleryImages:
        """What it holds now; read again when it has changed."""
        if self._images is None or self._images.state != self.files.read_manifest().state:
            _, self._images = self.files.read()
        return self._images

    def known_images(self) -> GalleryImages:
        """What it holds now, to be compared with.

        Raises:
            EmptyDataset: nothing.
        """
        if not len(self.images):
            raise EmptyDataset(
                f"{str(self.path)!r} holds no images; add some: holotype identify add."
            )
        return self.images

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        if not self.files.exists:
            return f"Gallery({str(self.path)!r}, not made yet)"
        found = self.images
        return (
            f"Gallery({str(self.path)!r}: {len(found):,} images of "
            f"{len(found.individuals):,} individuals)"
        )

    def fitted(
        self,
        new_rate: float = DEFAULT_RATE,
        progress: Progress | None = None,
        *,
        refit: bool = True,
    ) -> FittedGallery:
        """The images, and what was fitted on them.

        Args:
            refit: fit anew where the gallery has changed by much since; else only where nothing
                was fitted yet.
        """
        images = self.known_images()
        require_rate(new_rate)
        calibration = self.calibration(progress or default_progress(), refit=refit)
        return FittedGallery(images, calibration, calibration.threshold_at(new_rate))

    @with_install_advice
    def calibration(self, progress: Progress, *, refit: bool = True) -> Calibration:
        """What was fitted on the gallery; anew where it has changed by much since."""
        images, file = self.known_images(), self.path / CALIBRATION
        if file.exists():
            try:
                found = read_json(file)
                with reading(file):
                    calibration = Calibration.from_json(found)
            except CorruptFile:
                progress.log(f"{file} is damaged, and is made again")
            else:
                grown = abs(len(images) - calibration.num_images)
                is_near = len(images) > SMALL and grown < len(images) / 10
                if calibration.state == images.state or is_near or not refit:
                    return calibration
        with progress.busy("calibrating"):
            calibration = calibrate(images)
        write_json(file, calibration.to_json())
        return calibration

    def embedded(self, images: Images, known: KnownFacts, progress: Progress) -> EmbeddedImages:
        listed = list_images(images, known, progress)
        return embed_images(self.classifier.bundle, listed, progress)

    def attributes(self, given: Attributes | None) -> dict[str, str | None]:
        """The attributes of this gallery: as they are given, else columns of a table.

        Raises:
            UsageError: one that the gallery does not have.
        """
        given = dict(given or {})
        if not self.files.exists:
            return given
        names = self.files.read_manifest().attributes
        for name in given:
            if name not in names:
                raise UsageError(
                    f"--attribute {name}: this gallery has {', '.join(names) or 'no attributes'}"
                    f"{did_you_mean(name, names)} They are chosen by its first add."
                )
        return {name: given.get(name) for name in names}

    def new_manifest(self, known: KnownFacts) -> GalleryManifest:
        """What the gallery is made as where there is none; its bundle by a path from here."""
        bundle = os.path.relpath(self.classifier.path.absolute(), self.path.absolute())
        return GalleryManifest(
            bundle=Path(bundle).as_posix(),
            digest=self.classifier.digest,
            embedding_size=sum(
                {base.backbone_sha256: base.manifest.embedding_size
                 for base in self.classifier.bundle.base_models}.values()
            ),
            attributes=tuple(sorted(known.attributes)),
        )  # fmt: skip
