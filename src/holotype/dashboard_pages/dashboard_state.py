"""What the pages share: the folder of runs, the registry, sessions and the server below."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from holotype.dashboard_pages.sessions import SessionSigner
from holotype.serving.http.service import Service


@dataclass(frozen=True, eq=False)
class Section:
    """One entry of the navigation.

    Attributes:
        label: what it is called.
        summary: what it is for, on the first page.
        path: below `/dashboard/`.
        routers: its pages, each of `page.page_router`.
    """

    label: str
    summary: str
    path: str
    routers: tuple[APIRouter, ...]


@dataclass(eq=False)
class Dashboard:
    """One dashboard; it is `app.state.dashboard`.

    Attributes:
        folder: runs are looked for below it.
        service: the server: its engine, traffic, metrics, settings and keys.
        signer: of cookies and forms.
        sections: the navigation.
        kept: what a section keeps in memory, by the name of the section; it has to bound it.
    """

    folder: Path
    service: Service
    signer: SessionSigner
    sections: Sequence[Section] = ()
    kept: dict[str, Any] = field(default_factory=dict)


def dashboard_of(request: Request) -> Dashboard:
    found: Dashboard = request.app.state.dashboard
    return found
