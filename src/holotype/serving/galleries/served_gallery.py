"""A gallery as a server asks it: workers embed, this process compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from holotype.bundle.references import l2_normalized
from holotype.errors import UsageError
from holotype.identification.change_gallery import add_images
from holotype.identification.gallery import Gallery
from holotype.identification.gallery_result import Addition
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.identification.query_gallery import answer_questions, questions_of
from holotype.identification.query_result import Identifications
from holotype.identification.storage.embed_images import EmbeddedImages
from holotype.identification.storage.gallery_images import (
    THUMBNAIL_SIDE,
    GalleryImage,
    ImageBlock,
)
from holotype.serving.engine.job import ImageRefused, JobAnswer


@dataclass(frozen=True)
class RequestFacts:
    """What a request says of all its images.

    Attributes:
        individual: who it is; "" where that is asked.
        encounter, date: "" where they are not said.
        attributes: one value for each attribute of the gallery.
    """

    individual: str = ""
    encounter: str = ""
    date: str = ""
    attributes: Mapping[str, str] | None = None


class ServedGallery:
    """One gallery; requests may come in several threads.

    It is calibrated when the server starts. What is added later is found at once, and is calibrated
    with at the next start, or by the next `add` of the command line.

    Args:
        gallery: its folder.

    Raises:
        NotAGallery, EmptyDataset: there is none, or it is empty.
        MissingExtra: it has to be calibrated, and SciPy is not installed.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        gallery.fitted()

    @property
    def digest(self) -> str:
        """The identity of the bundle whose embeddings it holds."""
        return self.gallery.files.read_manifest().digest

    def attributes(self, text: str) -> dict[str, str]:
        """`side=left,view=top` as values for the attributes of the gallery.

        Raises:
            UsageError: not exactly those of the gallery.
        """
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        found = {name.strip(): value.strip() for name, _, value in pairs}
        names = self.gallery.files.read_manifest().attributes
        if set(found) != set(names) or not all(found.values()):
            expected = ",".join(f"{name}=VALUE" for name in names)
            raise UsageError(f"attributes: expected {expected or 'none'}.")
        return found

    def identify(
        self,
        answers: Sequence[JobAnswer | ImageRefused],
        facts: RequestFacts,
        *,
        together: bool,
        top: int,
        new_rate: float = DEFAULT_RATE,
    ) -> Identifications:
        """Who the images of a request show; each is called by its place in it.

        Args:
            answers: of the task `identify`, to at least one image that could be used.
            together: whether all images are one question.
            top: how many individuals are named at most.
            new_rate: how often a known individual may be called new.

        Raises:
            UsageError: too few known individuals for this rate.
        """
        fitted = self.gallery.fitted(new_rate, refit=False)
        encounter = facts.encounter or "request"
        block = _block(answers, replace(facts, encounter=encounter if together else ""))
        found = answer_questions(block, questions_of(block.images), fitted, top=top)
        note = fitted.calibration.note
        return Identifications(tuple(found), fitted.threshold, (note,) if note else ())

    def add(self, answers: Sequence[JobAnswer | ImageRefused], facts: RequestFacts) -> Addition:
        """Add the images of a request to an individual.

        Args:
            answers: see `identify`.
        """
        block = _block(answers, facts)
        named = tuple(replace(one, file=f"upload/{one.sha256}") for one in block.images)
        files = self.gallery.files
        found = EmbeddedImages(replace(block, images=named), (), [], {})
        return add_images(files, replace(files.read_manifest(), segments=()), found)


def _block(found: Sequence[JobAnswer | ImageRefused], facts: RequestFacts) -> ImageBlock:
    answer_at = {place: one for place, one in enumerate(found) if isinstance(one, JobAnswer)}
    answers = answer_at.values()
    images = tuple(
        GalleryImage(
            facts.individual, f"image {place}", str(answer.facts["sha256"]),
            facts.encounter, facts.date, facts.attributes or {},
        )
        for place, answer in answer_at.items()
    )  # fmt: skip
    embeddings = [np.frombuffer(answer.parts[0], np.float32) for answer in answers]
    thumbnails = [np.frombuffer(answer.parts[1], np.uint8) for answer in answers]
    shape = (len(answers), THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return ImageBlock(
        images, l2_normalized(np.stack(embeddings)), np.stack(thumbnails).reshape(shape)
    )
