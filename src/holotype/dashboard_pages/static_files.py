"""Styles and scripts, as files of the package: no page asks another server for anything.

The digest of a file is in its address, so that a browser may keep it for ever.
"""

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from holotype.serving.http.problems import Problem
from holotype.serving.http.service import PAGES

PLACES = {
    "page.css": "holotype.reporting",  # the look of the reports
    "dashboard.css": "holotype.dashboard_pages",
    "dashboard.js": "holotype.dashboard_pages",
    "data.css": "holotype.dashboard_pages",
    "specimens.css": "holotype.dashboard_pages",
    "specimens.js": "holotype.dashboard_pages",
    "try_it.css": "holotype.dashboard_pages",
    "try_it.js": "holotype.dashboard_pages",
    "htmx.min.js": "holotype.dashboard_pages",
    "review.js": "holotype.dashboard_pages",
    "runs.js": "holotype.dashboard_pages",
    "uplot.min.css": "holotype.dashboard_pages",
    "uplot.min.js": "holotype.dashboard_pages",
}
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}

router = APIRouter(prefix=f"{PAGES}static", include_in_schema=False)


@router.get("/{digest}/{name}")
def static_file(digest: str, name: str) -> Response:
    if name not in PLACES or digest != _file(name)[0]:
        raise Problem("no_such_path")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    media_type = TYPES[name.rpartition(".")[2]]
    return Response(_file(name)[1], headers=headers, media_type=media_type)


def static_url(name: str) -> str:
    """Below `/dashboard/`; `page.relative_url` makes a link of it."""
    return f"static/{_file(name)[0]}/{name}"


@cache
def _file(name: str) -> tuple[str, bytes]:
    place = files(PLACES[name])
    if PLACES[name] == "holotype.dashboard_pages":
        place = place.joinpath("static")
    content = place.joinpath(name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:16], content
