"""`/v1/models/NAME/identify` and `/individuals`: who is this, and add who was confirmed."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from holotype.errors import UsageError
from holotype.identification.matching.gallery_calibration import DEFAULT_RATE
from holotype.serving.galleries.served_gallery import RequestFacts, ServedGallery
from holotype.serving.http.descriptions import image_path, problems
from holotype.serving.http.image_request import Found, ImageRequest, read_images
from holotype.serving.http.problems import Problem
from holotype.serving.http.request_options import NoOptions, options_of
from holotype.serving.http.service import service_of

NO_RIGHT = problems(403)
MAX_TEXT = 200

_Attributes = Annotated[
    str, Field(max_length=1000, description="Of the gallery, such as side=left,view=top.")
]
_Encounter = Annotated[str, Field(max_length=MAX_TEXT, description="What all images are of.")]


class IdentifyOptions(NoOptions):
    """Of `/identify`."""

    attributes: _Attributes = ""
    encounter: _Encounter = ""
    together: Annotated[bool, Field(description="All images are one question.")] = False
    top: Annotated[int, Field(ge=1, le=100, description="So many individuals at most.")] = 5
    new_rate: Annotated[
        float, Field(gt=0, lt=1, description="How often a known one may be called new.")
    ] = DEFAULT_RATE


class AddOptions(NoOptions):
    """Of `/individuals`."""

    label: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="Who it is.")]
    attributes: _Attributes = ""
    encounter: _Encounter = ""
    date: Annotated[str, Field(max_length=40, description="Such as 2026-07-01.")] = ""


def gallery_router(gallery: ServedGallery) -> APIRouter:
    """The paths of one gallery, below the model whose embeddings it holds."""
    router = APIRouter(prefix="/v1/models/{name}", tags=["identification"])

    @router.post("/identify", response_class=Response, **image_path(IdentifyOptions, more=NO_RIGHT))
    async def identify(request: Request) -> Response:
        """Who is this? The likeliest individuals for each image, or for all of them together."""
        asked = options_of(request, IdentifyOptions)
        attributes = _attributes(gallery, asked.attributes)
        work, found = await _embedded(request, gallery)
        refused = work.refused(found)
        facts = RequestFacts(encounter=asked.encounter, attributes=attributes)
        together = asked.together or bool(asked.encounter)
        try:
            identified = await asyncio.to_thread(
                partial(
                    gallery.identify, found, facts, together=together, top=asked.top,
                    new_rate=asked.new_rate,
                )
            )  # fmt: skip
        except UsageError as error:  # too few known individuals for this rate
            raise Problem("invalid_parameter", str(error)) from None
        return work.response({**identified.to_json(), "refused": refused}, found)

    @router.post("/individuals", response_class=Response, **image_path(AddOptions, more=NO_RIGHT))
    async def add(request: Request) -> Response:
        """Add images of an individual, known or new. A key needs the right to review."""
        _require_review(request)
        asked = options_of(request, AddOptions)
        if not asked.label.strip():
            raise Problem("invalid_parameter", "label: empty.")
        attributes = _attributes(gallery, asked.attributes)
        work, found = await _embedded(request, gallery)
        refused = work.refused(found)
        facts = RequestFacts(asked.label.strip(), asked.encounter, asked.date, attributes)
        added = await asyncio.to_thread(gallery.add, found, facts)
        return work.response({**added.to_json(), "refused": refused}, found)

    return router


def _attributes(gallery: ServedGallery, text: str) -> dict[str, str]:
    try:
        return gallery.attributes(text)
    except UsageError as error:
        raise Problem("invalid_parameter", str(error)) from None


async def _embedded(request: Request, gallery: ServedGallery) -> tuple[ImageRequest, list[Found]]:
    """The request, and what became of each image.

    Raises:
        Problem: the model is another one than the gallery's.
    """
    work = await read_images(request)
    if work.route.version.digest != gallery.digest:
        raise Problem("not_possible", "The gallery holds embeddings of another classifier.")
    return work, await work.answers("identify", {})


def _require_review(request: Request) -> None:
    """Where there are keys, only one with the right to review may add.

    Raises:
        Problem: this key may not.
    """
    key = request.state.key
    has_keys = service_of(request).keys is not None
    if has_keys and (key is None or "review" not in key.rights):
        raise Problem("no_right", "Make a key with --rights review.")
