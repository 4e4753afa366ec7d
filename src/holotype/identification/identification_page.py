"""Answers, discovered individuals and evaluations as pages: images side by side, nothing loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from holotype.files import csv_text, write_json, write_text
from holotype.identification.discovery import Discovery
from holotype.identification.gallery_evaluation import EVALUATION, GalleryEvaluation
from holotype.identification.matched_images import SIDE, OpenImage, overlap
from holotype.identification.query_result import Identification, Identifications
from holotype.identification.storage.gallery_images import GalleryImage
from holotype.reporting.plot_style import BLUE, new_figure, save_all
from holotype.reporting.templates import jpeg_url, plot_image, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "index.html"
MOST_STRIPS = 60  # questions or individuals that are shown on a page
MOST_IMAGES = 12  # of one individual
RANKED_SHOWN = 3
FIGURE_CAPTIONS = {
    "cumulative_match": "Known individuals that are found among the first, by rank",
    "open_set": "Known individuals named, against unknown ones not called new",
}


@dataclass(frozen=True)
class CaptionedImage:
    """An image on a page; its URL is None where the image is not there any more."""

    url: str | None
    caption: str


@dataclass(frozen=True)
class Strip:
    """Images side by side under a title."""

    title: str
    images: tuple[CaptionedImage, ...]


def write_query(found: Identifications, open_image: OpenImage, folder: Path) -> None:
    """For every question its image beside the best ones of the likeliest individuals."""
    write_json(folder / "answers.json", found.to_json())
    strips = [_question_strip(one, open_image) for one in found.answers[:MOST_STRIPS]]
    notes = [*found.notes, *([found.threshold_note] if found.threshold else [])]
    _write(folder, _Page("Who is this?", found.table(), notes, "Best pairs of images", strips))


def _question_strip(one: Identification, open_image: OpenImage) -> Strip:
    images: list[CaptionedImage] = []
    for each in one.ranked[:RANKED_SHOWN]:
        pair = each.best_pair
        first, second = open_image(pair.asked), open_image(pair.known)
        if not images:
            images.append(_captioned(first, f"asked: {Path(pair.asked).name}"))
        caption = f"{each.individual}, probability {each.probability:.3f}: {Path(pair.known).name}"
        images.append(_captioned(second, caption))
        if first is not None and second is not None and pair.window is not None:
            both = overlap(first, second, pair.window)
            agreement = f"registered, correlation {pair.correlation:.2f}; what agrees is grey"
            images.append(_captioned(both, agreement))
    title = f"{one.name}: {one.answer}, somebody new with probability {one.new_probability:.3f}"
    return Strip(title, tuple(images))


def write_discovery(
    found: Discovery, asked: Sequence[GalleryImage], open_image: OpenImage, folder: Path
) -> None:
    """The images of every individual that was found.

    Args:
        asked: what is known of the images.
    """
    write_json(folder / "discovery.json", found.to_json())
    write_text(folder / "individuals.csv", csv_text(_table_to_add(found, asked)))
    strips = [
        Strip(
            f"{one.name}: {len(one.images)} images, confidence {one.confidence:.2f}",
            tuple(
                _captioned(open_image(file), Path(file).name) for file in one.images[:MOST_IMAGES]
            ),
        )
        for one in found.individuals[:MOST_STRIPS]
    ]
    title = "Individuals among unknown images"
    _write(folder, _Page(title, found.table(), found.notes, "Individuals", strips))


def _table_to_add(found: Discovery, asked: Sequence[GalleryImage]) -> dict[str, list[Any]]:
    """The columns of individuals.csv; nothing that was known of the images is lost in it.

    Paths are absolute, since those of a table are read from the folder that it lies in.
    """
    columns, image_of = found.columns(), {image.file: image for image in asked}
    images = [image_of[file] for file in columns["path"]]
    columns["path"] = [
        Path(file).absolute().as_posix() if Path(file).is_file() else file
        for file in columns["path"]
    ]
    facts = {
        name: [image.attributes.get(name, "") for image in images]
        for name in sorted({name for image in images for name in image.attributes})
    }
    facts["encounter"] = [image.encounter for image in images]
    facts["date"] = [image.date for image in images]
    return columns | {name: cells for name, cells in facts.items() if any(cells)}


def write_evaluation(found: GalleryEvaluation, open_image: OpenImage, folder: Path) -> None:
    """Scores, the open-set curve and the hardest pairs."""
    write_json(folder / EVALUATION, found.to_json())
    write_text(folder / "questions.csv", csv_text(found.columns()))
    strips = [
        Strip(
            f"{one.name}: {one.individual} or {one.other}? margin {one.margin:+.2f}",
            (
                _captioned(open_image(one.asked), f"asked: {Path(one.asked).name}"),
                _captioned(
                    open_image(one.own_image),
                    f"{one.individual}, who it is: {Path(one.own_image).name}",
                ),
                _captioned(
                    open_image(one.other_image),
                    f"{one.other}, another: {Path(one.other_image).name}",
                ),
            ),
        )
        for one in found.hard_pairs
    ]
    summary = [found.title, *([] if found.difference is None else [str(found.difference)])]
    figures = save_all(_curves(found), folder)
    title = "How well individuals are known again"
    _write(
        folder,
        _Page(title, found.table(), found.notes, "Hardest questions", strips, summary, figures),
    )


def _curves(found: GalleryEvaluation) -> "dict[str, Figure | None]":
    figures: dict[str, Figure | None] = {"open_set": None}
    match_K = found.ranking.cumulative_match_K
    figures["cumulative_match"], axes = new_figure(5, 3.2)
    axes.plot(np.arange(1, len(match_K) + 1), match_K, color=BLUE)
    axes.set(xlabel="rank", ylabel="found among the first", ylim=(0, 1.02))
    if found.roc is not None:
        figures["open_set"], axes = new_figure(5, 3.2)
        axes.plot(found.roc.false_alarm_rate_T, found.roc.identification_rate_T, color=BLUE)
        axes.set(xlabel="unknown individuals not called new", ylabel="known ones named")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figures


def _captioned(image: PillowImage.Image | None, caption: str) -> CaptionedImage:
    url = None if image is None else jpeg_url(np.asarray(image.convert("RGB")), SIDE)
    return CaptionedImage(url, caption)


@dataclass(frozen=True)
class _Page:
    title: str
    table: tuple[Sequence[str], Sequence[Sequence[object]]]
    notes: Sequence[str]
    strips_title: str
    strips: Sequence[Strip]
    summary: Sequence[str] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)


def _write(folder: Path, page: _Page) -> None:
    text = render(
        "identification.html.j2",
        page=page,
        captions=FIGURE_CAPTIONS,
        plot_images={name: plot_image(png) for name, png in page.figures.items()},
    )
    write_text(folder / PAGE, text)
