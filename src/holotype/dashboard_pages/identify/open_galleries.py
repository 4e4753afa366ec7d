"""The galleries below the folder of the dashboard, and the images that were asked about."""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from holotype.dashboard_pages.addresses import directory_below
from holotype.dashboard_pages.classifiers import ask
from holotype.dashboard_pages.dashboard_state import Dashboard, dashboard_of
from holotype.errors import UsageError
from holotype.identification.gallery import Gallery
from holotype.identification.storage.gallery_files import GALLERY
from holotype.serving.engine.job import EngineError, JobAnswer
from holotype.serving.galleries.served_gallery import RequestFacts, ServedGallery
from holotype.serving.http.problems import problem_of

MAX_GALLERIES = 4  # that are kept open
MAX_ASKED = 64  # questions that wait to be confirmed; the oldest are forgotten


@dataclass(frozen=True, eq=False)
class AskedQuestion:
    """Images that were asked about, kept until they are confirmed.

    Attributes:
        of: the gallery, by its path below the folder.
        answers: what the workers made of them.
        facts: what was said of them.
    """

    of: str
    answers: tuple[JobAnswer, ...]
    facts: RequestFacts


class OpenGalleries:
    """The galleries of one dashboard; the one that was asked for longest ago is closed first."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._opened: OrderedDict[str, ServedGallery] = OrderedDict()
        self._asked: OrderedDict[str, AskedQuestion] = OrderedDict()

    async def open(self, of: str) -> ServedGallery:
        """A gallery by its path below the folder.

        Raises:
            UsageError: there is none.
        """
        if of not in self._opened:
            place = directory_below(self._dashboard.folder, of)
            if place is None or not (place / GALLERY).is_file():
                raise UsageError(f"there is no gallery {of!r} below the folder of this dashboard.")
            self._opened[of] = await asyncio.to_thread(_opened, place)
        self._opened.move_to_end(of)
        while len(self._opened) > MAX_GALLERIES:
            self._opened.popitem(last=False)
        return self._opened[of]

    async def embedded(self, gallery: ServedGallery, images: list[bytes]) -> list[JobAnswer]:
        """What the workers make of images.

        Raises:
            Problem: an image cannot be used, or was not answered.
        """
        engine = self._dashboard.service.engine
        if gallery.digest not in engine.digests:
            await engine.open(str(gallery.gallery.classifier.path))
        answers = []
        for found in await ask(engine, "identify", gallery.digest, images, {}):
            if isinstance(found, EngineError):
                raise problem_of(found)
            answers.append(found)
        return answers

    def keep(self, question: AskedQuestion) -> str:
        """Keep a question until it is confirmed: the token that its form sends."""
        token = secrets.token_urlsafe(16)
        self._asked[token] = question
        while len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        return token

    def asked(self, token: str) -> AskedQuestion:
        """The question of a token.

        Raises:
            UsageError: it was forgotten.
        """
        if token not in self._asked:
            raise UsageError("these images are not kept any more; ask about them again.")
        return self._asked[token]


def _opened(place: Path) -> ServedGallery:
    return ServedGallery(Gallery(place))


def open_galleries(request: Request) -> OpenGalleries:
    """Those of the dashboard of a request."""
    dashboard = dashboard_of(request)
    found: OpenGalleries = dashboard.kept.setdefault("galleries", OpenGalleries(dashboard))
    return found
