"""Pages: galleries, who is in one, who is this, confirm or name somebody new, one individual."""

import asyncio
import base64
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from fastapi import Request
from PIL import Image
from starlette.responses import Response

from holotype.dashboard_pages.addresses import query_string, whole_number
from holotype.dashboard_pages.data.thumbnails import thumbnail_of
from holotype.dashboard_pages.identify.open_galleries import AskedQuestion, open_galleries
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.visitors import MayLook, MayReview
from holotype.errors import UsageError
from holotype.identification.storage.gallery_files import GALLERY
from holotype.imaging.significant_bits import FULL_BITS
from holotype.progress import pluralize
from holotype.serving.galleries.served_gallery import RequestFacts, ServedGallery

SIDE = 160  # pixels of an image on a page
TOP = 5
MAX_INDIVIDUALS = 500  # on one page
MAX_IMAGES = 200  # of one individual

router = page_router("identify")


@router.get("/")
async def galleries(request: Request, visitor: MayLook) -> Response:
    index = folder_index_of(request)
    names = await asyncio.to_thread(index.places, GALLERY)
    return render(request, "identify/galleries.html.j2", names=names, is_complete=index.is_complete)


@router.get("/gallery")
async def known(request: Request, visitor: MayLook) -> Response:
    """Who is in a gallery, and the form to ask it."""
    of = request.query_params.get("of", "")
    served = await open_galleries(request).open(of)
    found = await asyncio.to_thread(served.gallery.list)
    images = served.gallery.images
    return render(
        request, "identify/known.html.j2", of=of, individuals=found[:MAX_INDIVIDUALS],
        total=len(found), choices=_choices(served), num_images=len(images),
    )  # fmt: skip


@router.post("/ask")
async def ask(request: Request, visitor: MayLook) -> Response:
    """Who the images of the form show: all of them are one question."""
    form, holder = posted_form(request), open_galleries(request)
    of = form.get("of")
    served = await holder.open(of)
    files = [content for _, content in form.files if content]
    if not files:
        raise UsageError("no image was chosen; choose one, or several of one encounter.")
    attributes = {name: form.get(f"attribute-{name}").strip() for name in _choices(served)}
    missing = [name for name, value in attributes.items() if not value]
    if missing:
        raise UsageError(f"{missing[0]} is missing; images that differ in it are never compared.")
    encounter, date = form.get("encounter").strip(), form.get("date").strip()
    facts = RequestFacts("", encounter, date, attributes)
    answers = await holder.embedded(served, files)
    found = await asyncio.to_thread(served.identify, answers, facts, together=True, top=TOP)
    token = holder.keep(AskedQuestion(of, tuple(answers), facts))
    known = enumerate(served.gallery.images)
    row_of = {(image.individual, image.file): row for row, image in known}
    return render(
        request, "identify/answer.html.j2", of=of, answer=found[0], notes=found.notes,
        threshold_note=found.threshold_note, token=token, row_of=row_of,
        asked=[_png_url(answer.parts[1]) for answer in answers],
    )  # fmt: skip


@router.post("/confirm")
async def confirm(request: Request, visitor: MayReview) -> Response:
    """Add the images that were asked about to an individual, known or new."""
    form, holder = posted_form(request), open_galleries(request)
    question = holder.asked(form.get("token"))
    new_name = form.get("new_name").strip()
    name = new_name or form.get("individual").strip()
    if not name:
        raise UsageError("it is not said who this is; choose an individual or give a new name.")
    served = await holder.open(question.of)
    if new_name and name in served.gallery.images.individuals:
        raise UsageError(f"the gallery has an individual {name!r}; choose it, or another new name.")
    facts = replace(question.facts, individual=name, encounter=_encounter_of(question))
    added = await asyncio.to_thread(served.add, question.answers, facts)
    if added.conflicts:
        count = pluralize(len(question.answers), "image")
        raise UsageError(f"{added.num_added} of {count} added to {name!r}: {added.conflicts[0]}")
    return redirect(
        request, f"identify/individual?{query_string({'of': question.of, 'name': name})}"
    )


@router.get("/individual")
async def individual(request: Request, visitor: MayLook) -> Response:
    """The history of one individual: its images by date."""
    of, name = request.query_params.get("of", ""), request.query_params.get("name", "")
    served = await open_galleries(request).open(of)
    (found,) = await asyncio.to_thread(served.gallery.history, name)
    row_of = {image.sha256: row for row, image in enumerate(served.gallery.images)}
    return render(
        request, "identify/individual.html.j2", of=of, found=found,
        images=[(row_of[image.sha256], image) for image in found.images[:MAX_IMAGES]],
    )  # fmt: skip


@router.get("/image")
async def image(request: Request, visitor: MayLook) -> Response:
    """An image of a gallery: its file where it is still there, else what the gallery kept of it."""
    served = await open_galleries(request).open(request.query_params.get("of", ""))
    gallery = served.gallery.images
    row = whole_number(request.query_params.get("row", ""), otherwise=len(gallery))
    if row >= len(gallery):
        raise UsageError("the gallery has no such image.")
    file = Path(gallery.images[row].file)
    if file.is_absolute() and file.is_file():
        content, kind = await thumbnail_of(request, file, SIDE, bits=FULL_BITS)
    else:
        content, kind = _png(gallery.thumbnails(np.array([row]))[0]), "image/png"
    return Response(content, media_type=kind)


def _encounter_of(question: AskedQuestion) -> str:
    """As it was typed; else a name, since images that were asked about together are of one.

    Without, each would count as an encounter of its own, and they would find each other when the
    gallery is calibrated and evaluated.
    """
    if question.facts.encounter or len(question.answers) == 1:
        return question.facts.encounter
    hashes = sorted(str(answer.facts["sha256"]) for answer in question.answers)
    return f"asked-{hashlib.sha256(''.join(hashes).encode()).hexdigest()[:12]}"


def _choices(served: ServedGallery) -> dict[str, list[str]]:
    """The attributes of a gallery, each with the values that it has."""
    manifest = served.gallery.files.read_manifest()
    images = served.gallery.images
    return {
        name: sorted({one.attributes.get(name, "") for one in images})
        for name in manifest.attributes
    }


def _png(thumbnail_SS: np.ndarray) -> bytes:
    content = io.BytesIO()
    side = thumbnail_SS.shape[0] * 3
    small = Image.fromarray(thumbnail_SS).resize((side, side), Image.Resampling.BICUBIC)
    small.save(content, "PNG")
    return content.getvalue()


def _png_url(part: memoryview) -> str:
    pixels = np.frombuffer(part, np.uint8)
    side = int(len(pixels) ** 0.5)
    encoded = base64.b64encode(_png(pixels.reshape(side, side))).decode("ascii")
    return f"data:image/png;base64,{encoded}"
