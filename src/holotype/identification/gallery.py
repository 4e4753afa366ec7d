"""A gallery of individuals: `holotype.Gallery`.

It is data beside a bundle: adding an individual trains nothing. What a bundle embedded is compared
with nothing that another bundle embedded, so a gallery names its bundle and refuses any other.
"""

import os
from dataclasses import replace
from pathlib import Path

from holotype.arguments import check_arguments, require_directory_place, require_file_place
from holotype.bundle.image_sources import ImageLike, Images, image_sources
from holotype.errors import EmptyDataset, UsageError
from holotype.extras import with_install_advice
from holotype.files import atomic_write, require_writable
from holotype.identification.change_gallery import (
    GalleryChange,
    add_images,
    remove_images,
    rename_individual,
    require_individual,
)
from holotype.identification.discovery import (
    DiscoveredIndividual,
    Discovery,
    discover_individuals,
)
from holotype.identification.evaluate_gallery import (
    evaluate_questions,
    questions_of_data,
    questions_of_gallery,
)
from holotype.identification.gallery_evaluation import (
    GalleryEvaluation,
    difference_to,
    read_questions,
)
from holotype.identification.gallery_result import Addition, Individual, Individuals
from holotype.identification.identification_page import (
    write_discovery,
    write_evaluation,
    write_query,
)
from holotype.identification.matched_images import image_opener
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.identification.new_individual import require_rate
from holotype.identification.open_gallery import Attributes, OpenGallery, PathLike
from holotype.identification.pair_comparison import PairComparison
from holotype.identification.query_gallery import answer_questions, compare_pair, questions_of
from holotype.identification.query_result import Identifications
from holotype.identification.storage.embed_images import embed_images
from holotype.identification.storage.gallery_images import GalleryImage
from holotype.identification.storage.image_listing import KnownFacts
from holotype.progress import Progress, default_progress


class Gallery(OpenGallery):
    """Known individuals, by images; see the page on identification.

    Example:
        >>> gallery = holotype.Gallery("known", "runs/photos-1")  # doctest: +SKIP
        >>> gallery.add("photos")  # doctest: +SKIP
        >>> gallery.query("cat.jpg")[0].answer  # doctest: +SKIP
        >>> gallery.compare("cat.jpg", "new-photos/disc/0000.png")  # doctest: +SKIP

    Args:
        gallery: its folder; made by the first `add`.
        classifier: a run, a stage of it, a bundle or `registry://NAME@ALIAS`, whose embeddings are
            compared; needed for a new gallery, and where its classifier was moved.

    Raises:
        NotAGallery: the folder is none, and no classifier is named to make one.
    """

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
            progress: where progress is shown; silent by default, but in a notebook.

        Raises:
            UsageError: no image was named, or one without an individual or an attribute; a path
                that does not exist.
            GalleryError: another classifier than that of the gallery.
        """
        progress = progress or default_progress()
        known = KnownFacts(label, encounter, date, self.attributes(attributes), is_kept=True)
        found = self.embedded(images, known, progress)
        added = add_images(self.files, self.new_manifest(known), found)
        if added.num_added:
            self.calibration(progress)
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
        output: PathLike | None = None,
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
            output: write `index.html`, with the best pairs of images side by side, and
                `answers.json` into this directory.
            progress: where progress is shown; silent by default, but in a notebook.

        Raises:
            EmptyDataset: the gallery is empty.
            UsageError: no image was named, one has no attribute, a path does not exist, `top` is
                below 1, or there are too few known individuals for this rate.
        """
        progress = progress or default_progress()
        if top < 1:
            raise UsageError(f"--top {top}: expected a number from 1.")
        _require_place(output)
        fitted = self.fitted(new_rate, progress)
        known = KnownFacts(
            encounter=encounter, attributes=self.attributes(attributes), is_labelled=False
        )
        found = self.embedded(images, known, progress)
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
        result = Identifications(
            tuple(answers), fitted.threshold, tuple(notes), tuple(found.refused), found.warnings
        )
        if output is not None:
            write_query(result, image_opener(found.sources), Path(output))
        return result

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
        return rename_individual(self.files, individual, to)

    @check_arguments
    def remove(self, individual: str, *, image: str | None = None) -> GalleryChange:
        """Remove an individual, or one image of it, as `history` names it.

        Raises:
            UnknownIndividual: nobody is called so.
            UsageError: it has no such image.
        """
        return remove_images(self.files, individual, image)

    @check_arguments
    def compare(
        self, first: ImageLike, second: ImageLike, *, output: PathLike | None = None
    ) -> PairComparison:
        """Do two images show the same individual? Neither needs to be in the gallery.

        Both are taken to be of one side, whatever the attributes of the gallery.

        Args:
            first, second: images.
            output: write both side by side, and over each other, to this PNG file.

        Raises:
            EmptyDataset: the gallery is empty.
            ImageError: one cannot be used.
            UsageError: a path that does not exist, or more than one image.
        """
        if output is not None and Path(output).suffix.lower() != ".png":
            raise UsageError(f"--output {os.fspath(output)!r} must end in .png.")
        if output is not None:
            require_file_place(output)
            require_writable(Path(output))
        calibration = self.calibration(Progress())
        listed = [
            (GalleryImage("", source.id, ""), source)
            for image in (first, second)
            for source in image_sources(image)
        ]
        if len(listed) != 2:
            raise UsageError(f"{len(listed)} images were given to compare; expected two.")
        found = embed_images(self.classifier.bundle, listed, Progress(), use_cache=False)
        if found.refused:
            raise found.refused[0]
        compared = compare_pair(found.block, found.sources, calibration)
        if output is not None:
            with atomic_write(Path(output)) as temporary:
                compared.figure.save(temporary, format="PNG")
        return compared

    @check_arguments
    @with_install_advice
    def discover(
        self,
        images: Images,
        *,
        attributes: Attributes | None = None,
        output: PathLike | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Discovery:
        """Group images of unknown individuals by who they seem to show.

        Args:
            images: see `query`; those of one encounter stay together.
            attributes: see `add`.
            output: write `index.html`, `discovery.json` and `individuals.csv` into this directory;
                with other names filled in, `add` takes the table.
            seed: of the resamples that confidence comes from.
            progress: where progress is shown; silent by default, but in a notebook.

        Raises:
            EmptyDataset, UsageError: see `query`.
        """
        progress = progress or default_progress()
        _require_place(output)
        calibration = self.calibration(progress)
        found = self.embedded(
            images, KnownFacts(attributes=self.attributes(attributes), is_labelled=False), progress
        )
        questions = questions_of(found.block.images)
        individuals: tuple[DiscoveredIndividual, ...] = ()
        if questions:  # else no image could be used
            with progress.busy("grouping"):
                individuals = discover_individuals(found.block, questions, calibration, seed=seed)
        notes = (calibration.note,) if calibration.note else ()
        discovery = Discovery(
            individuals, len(questions), notes, tuple(found.refused), found.warnings
        )
        if output is not None:
            open_image = image_opener(found.sources)
            write_discovery(discovery, found.block.images, open_image, Path(output))
        return discovery

    @check_arguments
    @with_install_advice
    def evaluate(
        self,
        data: Images | None = None,
        *,
        attributes: Attributes | None = None,
        new_rate: float = DEFAULT_RATE,
        output: PathLike | None = None,
        against: PathLike | None = None,
        progress: Progress | None = None,
    ) -> GalleryEvaluation:
        """How well are individuals known again? Scores with intervals by individual.

        Args:
            data: labelled images, as `add` takes them, that are asked about; individuals that the
                gallery does not hold should be called new. Without, the gallery asks itself about
                each of its encounters, its images hidden.
            attributes: see `add`.
            new_rate: how often a known individual may be called new; between 0 and 1.
            output: write `index.html`, `evaluation.json` and `questions.csv` into this directory.
            against: the directory of another evaluation, to be compared question by question.
            progress: where progress is shown; silent by default, but in a notebook.

        Raises:
            EmptyDataset: the gallery is empty, or no image of the data can be used.
            UsageError: see `add`; or nothing can be compared.
            CorruptFile: `against` is no evaluation.
            NotComparable: the other evaluation has no question in common.
        """
        progress = progress or default_progress()
        _require_place(output)
        require_rate(new_rate)
        there = None if against is None else read_questions(Path(against))
        gallery = self.known_images()
        if data is None:
            with progress.busy("asking the gallery about itself"):
                questions = questions_of_gallery(gallery, new_rate)
                found = evaluate_questions(questions, gallery, hide_individuals=True)
            open_image = image_opener(())
        else:
            fitted = self.fitted(new_rate, progress)
            known = KnownFacts(attributes=self.attributes(attributes))
            embedded = self.embedded(data, known, progress)
            if not len(embedded.block):
                raise EmptyDataset(f"no image can be asked about: {embedded.refused[0]}")
            with progress.busy("asking"):
                questions = questions_of_data(embedded.block, fitted, new_rate)
                found = evaluate_questions(questions, gallery, hide_individuals=False)
            found = replace(found, refused=tuple(embedded.refused), warnings=embedded.warnings)
            open_image = image_opener(embedded.sources)
        if there is not None:
            found = replace(found, difference=difference_to(found, str(against), there))
        if output is not None:
            write_evaluation(found, open_image, Path(output))
        return found


def _individual(name: str, images: list[GalleryImage]) -> Individual:
    return Individual(
        name, tuple(sorted(images, key=lambda one: (one.date, one.encounter, one.file)))
    )


def _require_place(output: str | os.PathLike[str] | None) -> None:
    """Refuse, before the work, a directory that its result could not be written to."""
    if output is not None:
        require_directory_place(output)
        require_writable(Path(output) / "index.html")
