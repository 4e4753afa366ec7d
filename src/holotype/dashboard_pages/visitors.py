"""Who asks: the rights of a visitor, by the key that a session was opened with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.sessions import COOKIE, LASTS_S, Session
from holotype.serving.http.keys import RIGHTS, Right


class LoginNeeded(Exception):
    """Nobody may see this without a key."""


class RightNeeded(Exception):
    """The visitor's key does not open this; `right` is what it lacks."""

    def __init__(self, right: Right) -> None:
        self.right = right
        super().__init__(right)


@dataclass(frozen=True)
class Visitor:
    """Whoever asks for a page.

    Attributes:
        session: of the cookie, or a new one.
        name: of the key; empty on loopback, where none is needed.
        rights: what may be done.
        needs_key: whether the server has keys, so that there is a login and a logout.
    """

    session: Session
    name: str
    rights: tuple[Right, ...]
    needs_key: bool

    def may(self, right: Right) -> bool:
        return right in self.rights


def visitor_of(request: Request) -> Visitor:
    """Whoever asks; found once for each request."""
    found: Visitor | None = getattr(request.state, "visitor", None)
    if found is None:
        found = request.state.visitor = _visitor_of(request)
    return found


def _visitor_of(request: Request) -> Visitor:
    dashboard = dashboard_of(request)
    keys, signer = dashboard.service.keys, dashboard.signer
    session = signer.session(request.cookies.get(COOKIE, "")) or signer.new_session()
    if keys is None:
        return Visitor(session, "", RIGHTS, needs_key=False)
    key = keys.of_hash(session.key_sha256) if session.key_sha256 else None
    if key is None:
        return Visitor(session, "", (), needs_key=True)
    return Visitor(session, key.name, key.rights, needs_key=True)


def require(right: Right) -> Callable[[Request], Awaitable[Visitor]]:
    """A dependency of a page: the visitor, who may do this."""

    async def allowed(request: Request) -> Visitor:
        visitor = visitor_of(request)
        if not visitor.rights:
            raise LoginNeeded
        if not visitor.may(right):
            raise RightNeeded(right)
        return visitor

    return allowed


# As a page asks for them: def answer(request: Request, visitor: MayReview).
MayLook = Annotated[Visitor, Depends(require("look"))]
MayReview = Annotated[Visitor, Depends(require("review"))]
MayPromote = Annotated[Visitor, Depends(require("promote"))]


def keep_session(request: Request, response: Response, session: Session) -> None:
    """Let the browser keep a session: for this server only, out of reach of scripts."""
    dashboard = dashboard_of(request)
    if dashboard.signer.session(request.cookies.get(COOKIE, "")) == session:
        return
    response.set_cookie(
        COOKIE,
        dashboard.signer.cookie(session),
        max_age=LASTS_S,
        path=f"{dashboard.service.settings.proxy.root_path}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
