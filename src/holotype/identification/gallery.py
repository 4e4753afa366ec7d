"""A gallery of individuals: `holotype.Gallery`.

It is data beside a bundle: adding an individual trains nothing. What a bundle embedded is compared
with nothing that another bundle embedded, so a gallery names its bundle and refuses any other.
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from holotype.arguments import check_arguments
from holotype.bundle.image_sources import Images
from holotype.errors import CorruptFile, EmptyDataset, GalleryError, UsageError, did_you_mean
from holotype.extras import with_install_advice
from holotype.files import read_json, reading, write_json
from holotype.identification.change_gallery import (
    GalleryChange,
    add_images,
    remove_images,
    rename_individual,
    require_individual,
)
from holotype.identification.gallery_result import Addition, Individual, Individuals
from holotype.identification.matching.gallery_calibration import (
    DEFAULT_RATE,
    Calibration,
    calibrate,
)
from holotype.identification.query_gallery import (
    FittedGallery,
    answer_questions,
    questions_of,
)
from holotype.identification.query_result import Identifications
from holotype.identification.storage.embed_images import EmbeddedImages, embed_images
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from holotype.identification.storage.gallery_images import GalleryImage, GalleryImages
from holotype.identification.storage.image_listing import KnownFacts, list_images
from holotype.pipeline.classifier import Classifier, load
from holotype.progress import Progress

PathLike = str | os.PathLike[str]
Attributes = Mapping[str, str | None]

CALIBRATION = "calibration.json"
SMALL = 1000  # images; a larger gallery is calibrated again when it has grown by a tenth


class Gallery:
    """Known individuals, by images; see the page on identification.

    Example:
        >>> gallery = holotype.Gallery("known", "runs/photos-1")  # doctest: +SKIP
        >>> gallery.add("photos")  # doctest: +SKIP
        >>> gallery.query("cat.jpg")[0].answer  # doctest: +SKIP
        >>> gallery.compare("cat.jpg", "new-photos")  # doctest: +SKIP

    Args:
        gallery: its folder; made by the first `add`.
        classifier: a run, a stage of it, a bundle or `registry://NAME@ALIAS`, whose embeddings are
            compared; needed for a new gallery, and where its classifier was moved.

    Raises:
        NotAGallery: the folder is none, and no classifier is named to make one.
    """

    def __init__(self, gallery: PathLike, classifier: PathLike | None = None) -> None:
        self.path = Path(gallery)
        self._files = GalleryFiles(self.path)
        self._named = classifier
        self._images: GalleryImages | None = None
        if classifier is None:
            self._files.read_manifest()

    @cached_property
    def classifier(self) -> Classifier:
        """What embeds the images of this gallery.

        Raises:
            GalleryError: it is another one than the gallery was made with, or is not there.
        """
        if not self._files.exists:
            assert self._named is not None
            return load(self._named)
        manifest = self._files.read_manifest()
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
        if self._images is None or self._images.state != self._files.read_manifest().state:
            _, self._images = self._files.read()
        return self._images

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        if not self._files.exists:
            return f"Gallery({str(self.path)!r}, not made yet)"
        found = self.images
        return (
            f"Gallery({str(self.path)!r}: {len(found):,} images of "
            f"{len(found.individuals):,} individuals)"
        )

    @check_arguments
    def add(
        self,
        images: Images,
        *,
        label: str | None = None,
        encounter: str | None = None,
        date: str | None = None,
        attributes: Attributes | None = None,
        progress: Progress | None = None,
    ) -> Addition:
        """Add images of known individuals; nothing is trained.

        Args:
            images: images, folders, or tables with the columns path, individual and, where they are
                known, encounter, date and attributes. Without a label, a folder in a folder is an
                individual, and a folder in that an encounter.
            label: the individual that all of them show.
            encounter: what they were photographed in together, such as one dive; images of one
                encounter say nothing about how well the individual is known again.
            date: such as 2026-07-01.
            attributes: such as {"side": "left"}, or {"side": None} for a column of a table. Images
                that differ in an attribute are never compared. Those of the first `add` are those
                of the gallery.
            progress: where progress is shown; silent by default.

        Raises:
            UsageError: no image was named, or one without an individual or an attribute; a path
                that does not exist.
            GalleryError: another classifier than that of the gallery.
        """
        progress = progress or Progress()
        known = KnownFacts(label, encounter, date, self._attributes(attributes))
        found = self._embedded(images, known, progress)
        added = add_images(self._files, self._new_manifest(known), found)
        if added.num_added:
            self._calibration(progress)
        return added

    @check_arguments
    def query(
        self,
        images: Images,
        *,
        encounter: str | None = None,
        attributes: Attributes | None = None,
        top: int = 5,
        new_rate: float = DEFAULT_RATE,
        progress: Progress | None = None,
    ) -> Identifications:
        """Who is this? The likeliest individuals for every question.

        An image is a question of its own; the images of one encounter are one question together.

        Args:
            images: images, folders, or tables with the column path and, where they are known,
                encounter and attributes.
            encounter: a name: all the images are of one encounter, and so one question.
            attributes: see `add`; those of the gallery are needed.
            top: how many individuals are named at most.
            new_rate: how often a known individual may be called new; between 0 and 1.
            progress: where progress is shown; silent by default.

        Raises:
            EmptyDataset: the gallery is empty.
            UsageError: no image was named, one has no attribute, a path does not exist, or there
                are too few known individuals for this rate.
        """
        progress = progress or Progress()
        fitted = self.fitted(new_rate, progress)
        known = KnownFacts(None, encounter, None, self._attributes(attributes), is_labelled=False)
        found = self._embedded(images, known, progress)
        asked = found.block
        answers = answer_questions(asked, questions_of(asked.images), fitted, top=top)
        there = {image.sha256: image for image in fitted.gallery}
        copies = [image.file for image in asked.images if image.sha256 in there]
        notes = [fitted.calibration.note] if fitted.calibration.note else []
        if copies:
            notes.append(
                f"in the gallery already, so found with certainty: {', '.join(copies[:3])}"
                f"{', …' if len(copies) > 3 else ''}"
            )
        return Identifications(
            tuple(answers), fitted.threshold, tuple(notes), tuple(found.refused), found.warnings
        )

    def list(self) -> Individuals:
        """All individuals, by name."""
        of: dict[str, list[GalleryImage]] = {name: [] for name in self.images.individuals}
        for image in self.images:
            of[image.individual].append(image)
        return Individuals(tuple(_individual(name, found) for name, found in of.items()))

    @check_arguments
    def history(self, individual: str) -> Individuals:
        """When one individual was seen: its images by date, encounter and file.

        Raises:
            UnknownIndividual: nobody is called so.
        """
        require_individual(self.images, individual)
        return Individuals((next(one for one in self.list() if one.name == individual),))

    @check_arguments
    def rename(self, individual: str, to: str) -> GalleryChange:
        """Give an individual another name; one that exists takes its images too.

        Raises:
            UnknownIndividual: nobody is called so.
        """
        return rename_individual(self._files, individual, to)

    @check_arguments
    def remove(self, individual: str, *, image: str | None = None) -> GalleryChange:
        """Remove an individual, or one image of it, as `history` names it.

        Raises:
            UnknownIndividual: nobody is called so.
            UsageError: it has no such image.
        """
        return remove_images(self._files, individual, image)

    def fitted(
        self, new_rate: float = DEFAULT_RATE, progress: Progress | None = None
    ) -> FittedGallery:
        """The images, and what was fitted on them."""
        images = self.images
        if not len(images):
            raise EmptyDataset(
                f"{str(self.path)!r} holds no images; add some: holotype identify add."
            )
        calibration = self._calibration(progress or Progress())
        return FittedGallery(images, calibration, calibration.threshold_at(new_rate))

    @with_install_advice
    def _calibration(self, progress: Progress) -> Calibration:
        """What was fitted on the gallery; anew where it has changed by much since."""
        images, file = self.images, self.path / CALIBRATION
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
                if calibration.state == images.state or is_near:
                    return calibration
        with progress.busy("calibrating"):
            calibration = calibrate(images)
        write_json(file, calibration.to_json())
        return calibration

    def _embedded(self, images: Images, known: KnownFacts, progress: Progress) -> EmbeddedImages:
        listed = list_images(images, known, progress)
        return embed_images(self.classifier.bundle, listed, progress)

    def _attributes(self, given: Attributes | None) -> dict[str, str | None]:
        """The attributes of this gallery: as they are given, else columns of a table.

        Raises:
            UsageError: one that the gallery does not have.
        """
        given = dict(given or {})
        if not self._files.exists:
            return given
        names = self._files.read_manifest().attributes
        for name in given:
            if name not in names:
                raise UsageError(
                    f"--attribute {name}: this gallery has {', '.join(names) or 'no attributes'}"
                    f"{did_you_mean(name, names)} They are chosen by its first add."
                )
        return {name: given.get(name) for name in names}

    def _new_manifest(self, known: KnownFacts) -> GalleryManifest:
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


def _individual(name: str, images: list[GalleryImage]) -> Individual:
    return Individual(
        name, tuple(sorted(images, key=lambda one: (one.date, one.encounter, one.file)))
    )
