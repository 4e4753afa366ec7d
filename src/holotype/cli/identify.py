"""`holotype identify`: which individual is this, and have we met it before?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, Token

from holotype.cli.options import AsJson, Needs
from holotype.cli.output import (
    print_found,
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import ImageError
from holotype.identification.gallery import Gallery
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.imaging.image_warnings import refusal_notes, warning_notes
from holotype.progress import to_stderr
from holotype.text_tables import text_table

app = App(
    name="identify",
    help="Tell individuals apart: known ones by a gallery, and new ones as new.",
    help_epilogue="Example:\n  holotype identify query gallery image.jpg",
)

Classifier = Annotated[
    str | None,
    Parameter(
        help="The run or bundle whose embeddings are compared: needed for a new gallery, and where "
        "the classifier was moved."
    ),
]
Encounter = Annotated[
    str | None,
    Parameter(help="A name: all these images are of one encounter, such as one dive."),
]


def _attributes(_: object, tokens: Sequence[Token]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for token in tokens:
        name, equals, value = token.value.partition("=")
        found[name.strip()] = value if equals else None
    return found


Attributes = Annotated[
    dict[str, str | None] | None,
    Parameter(
        name="--attribute",
        n_tokens=-1,
        accepts_keys=False,
        converter=_attributes,
        help="NAME=VALUE, such as side=left, or several; or NAME for a column of a table. Images "
        "that differ in it are never compared.",
    ),
]


@app.command(
    help_epilogue="Example:\n  holotype identify add gallery new-photos --label nemo "
    "--classifier runs/photos-1"
)
def add(
    gallery: Path,
    /,
    *images: Path,
    label: str | None = None,
    encounter: Encounter = None,
    date: str | None = None,
    attributes: Attributes = None,
    classifier: Classifier = None,
    as_json: AsJson = False,
) -> int:
    """Add images of known individuals. Exit code 1 if one could not be used, or has two names.

    Args:
        gallery: Its folder; made by the first add.
        images: Images, folders, or tables with the columns path, individual, encounter, date. Of a
            folder without --label, the folders in it are the individuals.
        label: The individual that all of them show.
        date: When they were taken, such as 2026-07-01.
    """
    added = Gallery(gallery, classifier).add(
        images, label=label, encounter=encounter, date=date, attributes=attributes,
        progress=to_stderr(),
    )  # fmt: skip
    print_found(added, as_json=as_json)
    _print_notes(map(str, added.conflicts), added.warnings, added.refused)
    if not as_json:
        print_next_command("holotype", "identify", "query", gallery, "image.jpg")
    return 1 if added.refused or added.conflicts else 0


@app.command(help_epilogue="Example:\n  holotype identify query gallery image.jpg --top 3")
def query(
    gallery: Path,
    /,
    *images: Path,
    encounter: Encounter = None,
    attributes: Attributes = None,
    top: int = 5,
    new_rate: float = DEFAULT_RATE,
    output: Path | None = None,
    classifier: Classifier = None,
    as_json: AsJson = False,
) -> int:
    """Say who is shown, or that it is nobody known. Exit code 1 if an image could not be used.

    Args:
        gallery: Its folder.
        images: Images, folders, or tables with the column path. Each image is a question; those of
            one encounter are one question together.
        top: So many individuals are named at most.
        new_rate: How often a known individual may be called new.
        output: Write index.html, with the best pairs of images side by side, and answers.json into
            this directory.
    """
    found = Gallery(gallery, classifier).query(
        images, encounter=encounter, attributes=attributes, top=top, new_rate=new_rate,
        output=output, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    else:
        for one in found:
            print_result(f"{one.name}: {one.answer}")
            rows = [
                [each.individual, f"{each.probability:.3f}", each.num_images, each.best_pair.known]
                for each in one.ranked
            ]
            rows.append(["(somebody new)", f"{one.new_probability:.3f}", "", ""])
            print_result(text_table(["individual", "probability", "images", "most like"], rows))
            print_result("")
    _print_notes((found.threshold_note, *found.notes), found.warnings, found.refused)
    if output is not None:
        print_message(f"answers: {output / 'index.html'}")
    return 1 if found.refused else 0


@app.command(help_epilogue="Example:\n  holotype identify compare gallery a.jpg b.jpg")
def compare(
    gallery: Path,
    first: Path,
    second: Path,
    /,
    *,
    output: Path | None = None,
    classifier: Classifier = None,
    as_json: AsJson = False,
) -> int:
    """Say whether two images show the same individual; neither needs to be in the gallery.

    Args:
        gallery: Its folder.
        first: An image.
        second: Another one, of the same side.
        output: Write both side by side, and over each other, to this PNG file.
    """
    found = Gallery(gallery, classifier).compare(first, second, output=output)
    if as_json:
        print_json(found.to_json())
        return 0
    print_result(str(found))
    for note in found.notes:
        print_message(note)
    if output is not None:
        print_message(f"both images: {output}")
    return 0


@app.command(help_epilogue="Example:\n  holotype identify discover gallery new-photos --output new")
def discover(
    gallery: Path,
    /,
    *images: Path,
    attributes: Attributes = None,
    output: Path | None = None,
    seed: int = 0,
    classifier: Classifier = None,
    as_json: AsJson = False,
) -> int:
    """Group images of unknown individuals by who they seem to show.

    Args:
        gallery: Its folder; what was fitted on it says how alike one individual's images are.
        images: Images, folders, or tables with the column path. Those of one encounter stay
            together.
        output: Write index.html, discovery.json and individuals.csv into this directory.
        seed: Of the resamples that confidence comes from.
    """
    found = Gallery(gallery, classifier).discover(
        images, attributes=attributes, output=output, seed=seed, progress=to_stderr()
    )
    print_found(found, text_table(*found.table()), as_json=as_json)
    _print_notes(found.notes, found.warnings, found.refused)
    if output is not None:
        print_message(f"individuals: {output / 'index.html'}")
    return 1 if found.refused else 0


@app.command(help_epilogue="Example:\n  holotype identify evaluate gallery --output scores")
def evaluate(
    gallery: Path,
    /,
    *data: Path,
    attributes: Annotated[Attributes, Needs("data", "DATA")] = None,
    new_rate: float = DEFAULT_RATE,
    output: Path | None = None,
    against: Path | None = None,
    classifier: Classifier = None,
    as_json: AsJson = False,
) -> int:
    """Measure how well individuals are known again, with intervals by individual.

    Args:
        gallery: Its folder.
        data: Labelled images that are asked about, as add takes them; without any, the gallery
            asks itself about each of its encounters.
        new_rate: How often a known individual may be called new.
        output: Write index.html, evaluation.json and questions.csv into this directory.
        against: The directory of another evaluation, to be compared question by question.
    """
    found = Gallery(gallery, classifier).evaluate(
        data or None, attributes=attributes, new_rate=new_rate, output=output, against=against,
        progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    else:
        print_result(found.title)
        print_result(text_table(*found.table()))
        if found.difference is not None:
            print_result(str(found.difference))
    _print_notes(found.notes, found.warnings, found.refused)
    if output is not None:
        print_message(f"evaluation: {output / 'index.html'}")
    return 1 if found.refused else 0


@app.command(name="list", help_epilogue="Example:\n  holotype identify list gallery")
def list_individuals(gallery: Path, /, *, as_json: AsJson = False) -> int:
    """List all individuals: their images, encounters, and when they were seen.

    Args:
        gallery: Its folder.
    """
    found = Gallery(gallery).list()
    print_found(found, text_table(*found.table()), as_json=as_json)
    return 0


@app.command(help_epilogue="Example:\n  holotype identify history gallery nemo")
def history(gallery: Path, individual: str, /, *, as_json: AsJson = False) -> int:
    """Show when an individual was seen: its images by date.

    Args:
        gallery: Its folder.
        individual: Its name.
    """
    found = Gallery(gallery).history(individual)
    print_found(found, text_table(*found.images_table()), as_json=as_json)
    return 0


@app.command(help_epilogue="Example:\n  holotype identify rename gallery nemo marlin")
def rename(gallery: Path, individual: str, to: str, /) -> int:
    """Give an individual another name; one that exists takes its images too.

    Args:
        gallery: Its folder.
        individual: Its name.
        to: The new one.
    """
    print_result(str(Gallery(gallery).rename(individual, to)))
    return 0


@app.command(help_epilogue="Example:\n  holotype identify remove gallery nemo --image 1.jpg")
def remove(gallery: Path, individual: str, /, *, image: str | None = None) -> int:
    """Remove an individual, or one image of it.

    Args:
        gallery: Its folder.
        individual: Its name.
        image: Only this one, as history names it.
    """
    print_result(str(Gallery(gallery).remove(individual, image=image)))
    return 0


def _print_notes(
    notes: Iterable[str],
    warnings: Mapping[str, tuple[str, ...]],
    refused: Sequence[ImageError],
) -> None:
    for note in (*notes, *warning_notes(warnings), *refusal_notes("refused", refused)):
        if note:
            print_message(note)
