"""The gallery of a data set: images by filters, one image, confusion matrix, near-duplicates."""

from collections.abc import Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from holotype.dashboard_pages.addresses import page_of, query_string, whole_number
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.data.confusion_table import (
    MAX_CLASSES,
    confusion_table,
    predicted_parts,
)
from holotype.dashboard_pages.data.data_sets import DataSet, data_set_of
from holotype.dashboard_pages.data.image_query import (
    ImageQuery,
    select_rows,
)
from holotype.dashboard_pages.data.image_table import ImageTable
from holotype.dashboard_pages.data.thumbnails import SIDES_PX, thumbnail_of
from holotype.dashboard_pages.page import page_router, render
from holotype.dashboard_pages.runs.run_names import shown_names
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.visitors import MayLook
from holotype.errors import UsageError
from holotype.watching.labelling.label_sheet import SELECTION

MAX_DATA_SETS, MAX_SHEETS = 100, 20  # on a page
IMAGES_ON_PAGE, PAIRS_ON_PAGE = 48, 12

router = page_router("data")


@router.get("/")
def show_data_sets(request: Request, visitor: MayLook) -> Response:
    words = request.query_params.get("words", "").strip()
    index = folder_index_of(request)
    found = [
        entry
        for entry in index.entries()
        if entry.kind != "sweep" and words.casefold() in entry.path.casefold()
    ]
    found.sort(key=lambda entry: -entry.changed)
    sheets, shown = index.places(SELECTION), found[:MAX_DATA_SETS]
    folder = dashboard_of(request).folder
    return render(
        request, "data/data_sets.html.j2", entries=shown, total=len(found),
        names=shown_names(folder, (one.path for one in shown)),
        words=words, is_complete=index.is_complete, sheets=sheets[:MAX_SHEETS],
        num_more=len(sheets[MAX_SHEETS:]),
    )  # fmt: skip


@router.get("/gallery")
def show_gallery(request: Request, visitor: MayLook) -> Response:
    data = data_set_of(request)
    table, findings = data.table, data.findings
    query = ImageQuery.of(request.query_params)
    rows = select_rows(table, query, findings)
    shown, page, num_pages = page_of(rows, query.page, IMAGES_ON_PAGE)
    return render(
        request, "data/gallery.html.j2", data=data, table=table, query=query,
        rows=[int(row) for row in shown], total=len(rows), page=page, num_pages=num_pages,
        first=(page - 1) * IMAGES_ON_PAGE + 1, findings={k: len(v) for k, v in findings.items()},
        side=SIDES_PX[0],
    )  # fmt: skip


@router.get("/image")
def show_image(request: Request, visitor: MayLook) -> Response:
    data = data_set_of(request)
    table, row = data.table, row_of(request, data)
    path = table.paths[row]
    return render(
        request, "data/image.html.j2", data=data, table=table, row=row, path=path,
        issues=[issue for issue in data.issues if issue.path == path],
        partners=partners_of(data, path), side=SIDES_PX[1],
    )  # fmt: skip


@router.get("/thumbnail")
async def send_thumbnail(request: Request, visitor: MayLook) -> Response:
    """A small version of an image that the index names, by its row: no path is ever asked for."""
    asked = request.query_params.get("side", str(SIDES_PX[0]))
    if asked not in map(str, SIDES_PX):
        raise UsageError(f"side is {asked[:20]!r}; expected one of {SIDES_PX}.")
    table, row = await run_in_threadpool(_asked_row, request)
    content, kind = await thumbnail_of(
        request, table.file(row), int(asked), bits=table.bits,
        tolerate_truncated=table.tolerate_truncated,
    )  # fmt: skip
    # Its address carries the digest of the image, so it never changes.
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=86400"})


@router.get("/confusion")
def show_confusion(request: Request, visitor: MayLook) -> Response:
    data = data_set_of(request)
    parts = predicted_parts(data.table)
    part = request.query_params.get("part") or (parts[0] if parts else "")
    if parts and part not in parts:
        raise UsageError(f"part is {part!r}; expected one of {', '.join(parts)}.")
    confusion = confusion_table(data.table, part) if parts else None
    return render(
        request, "data/confusion.html.j2", data=data, table=data.table, parts=parts,
        part=part, confusion=confusion, address=_cell_address(data, part),
        max_classes=MAX_CLASSES,
    )  # fmt: skip


@router.get("/duplicates")
def show_duplicates(request: Request, visitor: MayLook) -> Response:
    data = data_set_of(request)
    asked = ImageQuery.of(request.query_params).page
    shown, page, num_pages = page_of(data.duplicates, asked, PAIRS_ON_PAGE)
    return render(
        request, "data/duplicates.html.j2", data=data, table=data.table, total=len(data.duplicates),
        pairs=shown, page=page, num_pages=num_pages,
        address=lambda page: query_string({"of": data.of, "page": page}), side=SIDES_PX[0],
    )  # fmt: skip


def _asked_row(request: Request) -> tuple[ImageTable, int]:
    data = data_set_of(request)
    return data.table, row_of(request, data)


def row_of(request: Request, data: DataSet) -> int:
    """The row that the address names.

    Raises:
        UsageError: there is none of this number.
    """
    text = request.query_params.get("row", "")
    row = whole_number(text, otherwise=len(data.table))
    if row >= len(data.table):
        raise UsageError(f"row is {text[:20]!r}; this data set has {len(data.table):,} images.")
    return row


def partners_of(data: DataSet, path: str) -> list[tuple[int, str]]:
    """The near-duplicates of an image: their rows, and the evidence."""
    found = []
    for pair in data.duplicates:
        if path in (pair.first, pair.second):
            other = pair.second if path == pair.first else pair.first
            if other in data.table.row_of:
                found.append((data.table.row_of[other], f"{pair.kind}: {pair.evidence}"))
    return found


def _cell_address(data: DataSet, part: str) -> Callable[[int, int], str]:
    """The gallery of the images that a cell counts; those of `oof` are of several parts."""
    table = data.table
    number_of = {name: number for number, name in enumerate(table.classes)}

    def address(true: int, predicted: int) -> str:
        label = number_of.get(table.predicted_classes[true], -1)
        split, predictions = ("", part) if part == "oof" else (part, "")
        query = ImageQuery(label=label, predicted=predicted, part=split, predictions=predictions)
        return query.address(data.of)

    return address
