"""The first page: where one can go from here."""

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.page import page_router, render
from holotype.dashboard_pages.visitors import MayLook

router = page_router("")


@router.get("/")
def show_home(request: Request, visitor: MayLook) -> Response:
    dashboard = dashboard_of(request)
    return render(
        request,
        "home.html.j2",
        folder=str(dashboard.folder.absolute()),
        models=list(dashboard.service.traffic.champions.values()),
    )
