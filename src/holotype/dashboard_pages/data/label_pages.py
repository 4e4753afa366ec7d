"""Labels of logged images: one image at a time, by keys or by buttons; they go to labels.csv."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from holotype.dashboard_pages.addresses import directory_below, query_string
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
    number = min(_whole(request.query_params.get("number", "")), max(0, len(sheet.rows) - 1))
    row = sheet.rows[number] if sheet.rows else None
    return render(
        request, "data/label.html.j2", sheet=sheet, row=row, number=number, num_keys=KEYS,
        mark="" if row is None else _mark(row), side=SIDES_PX[1], max_characters=MAX_CHARACTERS,
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
    number = next((n for n, row in enumerate(sheet.rows) if _mark(row) == form.get("mark")), None)
    if number is None:
        raise UsageError("The table was made anew meanwhile; begin again.")
    label = _label(form, sheet.classes)
    write_label(sheet.folder / LABELS, sheet.rows[number].path, label)
    if label:
        number = _next_open(sheet.rows, number)
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
    mark = request.query_params.get("mark", "")
    row = next((each for each in sheet.rows if _mark(each) == mark), None)
    file = None if row is None else (sheet.folder / row.path).resolve()
    if file is None or not file.is_relative_to(sheet.folder):
        raise UsageError("There is no such image in the folder of this table.")
    return file


def _label(form: Form, classes: Sequence[str]) -> str:
    """What was chosen: a class by its number, since a name may hold what a form changes."""
    word = form.get("word")
    if word == "withdraw":
        return ""
    if word == "another":
        name = form.get("another").strip()
        if not name or len(name) > MAX_CHARACTERS:
            raise UsageError("Write the name of the class beside “Another class” first.")
        return name
    chosen = form.get("label") if word == "choose" else word
    if not chosen or _whole(chosen, len(classes)) >= len(classes):
        raise UsageError("Choose a class first.")
    return classes[_whole(chosen)]


def _next_open(rows: Sequence[SheetRow], number: int) -> int:
    """The next image without a label; the next one where there is none."""
    after = [*range(number + 1, len(rows)), *range(number)]
    following = min(number + 1, len(rows) - 1)
    return next((n for n in after if not rows[n].label), following)


def _mark(row: SheetRow) -> str:
    """What a form names an image by."""
    return hashlib.sha256(row.path.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _whole(text: str, otherwise: int = 0) -> int:
    return int(text) if text.isascii() and text.isdecimal() else otherwise
