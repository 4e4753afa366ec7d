"""Labels of logged images: one image at a time, by keys or by buttons; they go to labels.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from holotype.dashboard_pages.addresses import (
    directory_below,
    mark_of,
    marked,
    next_open,
    query_string,
    whole_number,
)
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.data.thumbnails import SIDES_PX, thumbnail_of
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.visitors import MayLook, MayReview
from holotype.errors import UsageError
from holotype.serving.http.request_body import Form
from holotype.watching.labelling.label_sheet import (
    LABELS,
    SELECTION,
    SheetRow,
    classes_of_sheet,
    read_sheet,
    write_label,
)

KEYS = 9  # classes that a digit chooses
MAX_CHARACTERS = 200  # of the name of a class

router = page_router("data/label")


@dataclass(frozen=True, eq=False)
class LabelSheet:
    """A folder of images to label, as an address names it."""

    of: str
    folder: Path
    rows: Sequence[SheetRow]
    classes: Sequence[str]


@router.get("/")
def show_image(request: Request, visitor: MayLook) -> Response:
    """One image; what was answered is shown after it has a label, so that it steers nobody."""
    sheet = _sheet_of(request)
    asked = whole_number(request.query_params.get("number", ""))
    number = min(asked, max(0, len(sheet.rows) - 1))
    row = sheet.rows[number] if sheet.rows else None
    return render(
        request, "data/label.html.j2", sheet=sheet, row=row, number=number, num_keys=KEYS,
        mark_of=mark_of, max_characters=MAX_CHARACTERS,
        num_labelled=sum(bool(each.label) for each in sheet.rows),
        address=lambda number: query_string({"of": sheet.of, "number": number}),
    )  # fmt: skip


@router.get("/image")
async def send_image(request: Request, visitor: MayLook) -> Response:
    """A small version of an image of the sheet that lies in its folder."""
    file = await run_in_threadpool(_asked_file, request)
    content, kind = await thumbnail_of(request, file, SIDES_PX[1], bits=16, tolerate_truncated=True)
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=86400"})


@router.post("/answer")
def answer(request: Request, visitor: MayReview) -> Response:
    """Keep a label before the next image is shown."""
    sheet, form = _sheet_of(request), posted_form(request)
    paths = [row.path for row in sheet.rows]
    path = marked(paths, form.get("mark"))
    if path is None:
        raise UsageError("The table was made anew meanwhile; begin again.")
    number = paths.index(path)
    label = _label(form, sheet.classes)
    write_label(sheet.folder / LABELS, path, label)
    if label:
        number = next_open([bool(row.label) for row in sheet.rows], number)
    return redirect(request, f"data/label/?{query_string({'of': sheet.of, 'number': number})}")


def _sheet_of(request: Request) -> LabelSheet:
    """
    Raises:
        UsageError: the address names none.
    """
    of = request.query_params.get("of", "")
    folder = directory_below(dashboard_of(request).folder, of)
    if folder is None or not (folder / SELECTION).is_file():
        raise UsageError(f"{of!r} has no images to label; expected a folder of label-next.")
    rows = read_sheet(folder / LABELS)
    return LabelSheet(of, folder, rows, classes_of_sheet(folder, rows))


def _asked_file(request: Request) -> Path:
    """
    Raises:
        UsageError: the table names none in its folder by this mark.
    """
    sheet = _sheet_of(request)
    path = marked((row.path for row in sheet.rows), request.query_params.get("mark", ""))
    file = None if path is None else (sheet.folder / path).resolve()
    if file is None or not file.is_relative_to(sheet.folder):
        raise UsageError("There is no such image in the folder of this table.")
    return file


def _label(form: Form, classes: Sequence[str]) -> str:
    """What was chosen.

    Raises:
        UsageError: nothing, or a class that is no longer in the list.
    """
    word = form.get("word")
    if word == "withdraw":
        return ""
    if word == "another":
        name = form.get("another").strip()
        if not name or len(name) > MAX_CHARACTERS:
            raise UsageError("Write the name of the class beside “Another class” first.")
        return name
    chosen = form.get("label") if word == "choose" else word
    if not chosen:
        raise UsageError("Choose a class first.")
    label = marked(classes, chosen)
    if label is None:
        raise UsageError("The classes have changed meanwhile; go back, load the page and choose.")
    return label
