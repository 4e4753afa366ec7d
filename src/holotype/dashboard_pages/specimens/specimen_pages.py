"""The pages of “Specimens”: an unknown specimen against known ones, slice beside slice."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from holotype.dashboard_pages.addresses import changed_fields
from holotype.dashboard_pages.classifiers import (
    OpenedClassifier,
    classifier_choices,
    open_classifiers,
)
from holotype.dashboard_pages.page import page_router, render
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.specimens.overlap import SIDE, overlap_SSC, png_of
from holotype.dashboard_pages.specimens.specimen_slices import (
    StackAnswers,
    answers_along,
    find_slice,
    framed,
    ranking_of,
    slices_of,
)
from holotype.dashboard_pages.visitors import MayLook
from holotype.dataset.atomic_directory import TABLE_FILENAME
from holotype.explanation.specimen_matching import RankedReference, Slice
from holotype.serving.http.problems import Problem

PAIRS_ON_A_PAGE = 24
MAX_FOLDERS = 200
COLOURS = ("first", "second", "third")  # of the lines along a stack

router = page_router("specimens")


@dataclass(frozen=True)
class SpecimenQuery:
    """What an address asks for.

    Attributes:
        model: the classifier.
        of, specimen: a folder of slices, and which specimen of it.
        known: the folder of the known specimens; none where it is empty.
        against: which of them is shown; the most alike where it is empty.
        at: the slice that is shown, from 0.
    """

    model: str = ""
    of: str = ""
    specimen: str = ""
    known: str = ""
    against: str = ""
    at: Annotated[int, Query(ge=0, le=1_000_000)] = 0

    def query(self, **changes: object) -> dict[str, object]:
        return changed_fields(self, changes)


Asked = Annotated[SpecimenQuery, Depends()]


@router.get("/")
def show_specimens(request: Request, visitor: MayLook, asked: Asked) -> Response:
    """The form, and the specimens of the folder that is chosen."""
    by_specimen = slices_of(request, asked.of) if asked.of else {}
    counts = {name: len(slices) for name, slices in by_specimen.items()}
    values: dict[str, Any] = {"counts": counts, **_form_values(request, asked)}
    return render(request, "specimens/specimens.html.j2", 200, **values)


@router.get("/one")
async def show_specimen(request: Request, visitor: MayLook, asked: Asked) -> Response:
    """One specimen: the answer along its stack, and the known specimens most like it."""
    classifier = await open_classifiers(request).open(asked.model)
    return await run_in_threadpool(_specimen_page, request, asked, classifier)


@router.get("/slice.png")
def show_slice(request: Request, visitor: MayLook, of: str, name: str) -> Response:
    """A slice in the frame in which slices are compared."""
    return _png(request, find_slice(request, of, name))


@router.get("/overlap.png")
def show_overlap(
    request: Request, visitor: MayLook, of: str, name: str, known: str, reference: str
) -> Response:
    """What of two slices is bright in one, in the other, and in both."""
    return _png(request, find_slice(request, of, name), find_slice(request, known, reference))


def _specimen_page(
    request: Request, asked: SpecimenQuery, classifier: OpenedClassifier
) -> Response:
    along = answers_along(request, classifier, asked.of, asked.specimen)
    ranked = ranking_of(request, asked.of, asked.specimen, asked.known) if asked.known else ()
    shown = _shown(ranked, asked.against) if ranked else None
    at = min(asked.at, len(along.slices) - 1)
    likeliest = along.likeliest[0]
    values: dict[str, Any] = {
        "along": along,
        "at": at,
        "answer": _answer_at(along, at),
        "together": (along.classes[likeliest], float(along.mean_C[likeliest])),
        "lines": _lines(along),
        "ranked": ranked,
        "shown": shown,
        "pairs": [] if shown is None else shown.pairs[:PAIRS_ON_A_PAGE],
        "slice_here": along.slices[at],
        **_form_values(request, asked),
    }
    return render(request, "specimens/specimen.html.j2", 200, **values)


def _shown(ranked: tuple[RankedReference, ...], against: str) -> RankedReference:
    return next((one for one in ranked if one.specimen == against), ranked[0])


def _answer_at(along: StackAnswers, at: int) -> list[tuple[str, float]]:
    """The classes of one slice, the likeliest first."""
    pairs = zip(along.classes, along.probabilities_QC[at].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[:5]


def _lines(along: StackAnswers) -> list[tuple[str, str, str]]:
    """Colour, class and points (of a square of 100) of the likeliest classes along the stack."""
    last = max(1, len(along.slices) - 1)
    return [
        (
            colour,
            along.classes[c],
            " ".join(
                f"{100 * place / last:.2f},{100 - 100 * probability:.2f}"
                for place, probability in enumerate(along.probabilities_QC[:, c].tolist())
            ),
        )
        for colour, c in zip(COLOURS, along.likeliest, strict=False)
    ]


def _form_values(request: Request, asked: SpecimenQuery) -> dict[str, Any]:
    return {
        "asked": asked,
        "choices": classifier_choices(request),
        "folders": folder_index_of(request).places(TABLE_FILENAME)[:MAX_FOLDERS],
        "all_known": folder_index_of(request).is_complete,
    }


def _png(request: Request, *slices: Slice) -> Response:
    """One slice in the frame in which slices are compared, or how two of them cover each other."""
    found = framed(request, slices, SIDE)
    if len(found) < len(slices):
        raise Problem("unreadable_file")
    drawn = [grey_SS for _, grey_SS in found]
    content = png_of(overlap_SSC(*drawn) if len(drawn) > 1 else drawn[0])
    headers = {"cache-control": "private, max-age=600"}
    return Response(content, media_type="image/png", headers=headers)
