"""The dashboard within the application of a server: its sections and what they share."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from holotype.dashboard_pages import home, login, static_files
from holotype.dashboard_pages.dashboard_state import Dashboard, Section
from holotype.dashboard_pages.data import gallery_pages, label_pages, review_pages
from holotype.dashboard_pages.identify import identify_pages
from holotype.dashboard_pages.in_service import service_pages
from holotype.dashboard_pages.page import prepare_pages, problem_page
from holotype.dashboard_pages.runs import one_run_pages, run_pages, search_pages, start_pages
from holotype.dashboard_pages.sessions import SessionSigner, session_secret
from holotype.dashboard_pages.specimens import specimen_pages
from holotype.dashboard_pages.try_it import try_it_pages
from holotype.errors import UsageError
from holotype.files import cache_directory
from holotype.serving.http.problems import Problem
from holotype.serving.http.service import Service
from holotype.serving.server_settings import ServerSettings

# The navigation: a section is an entry here, and pages on routers of its own.
SECTIONS = (
    Section("Try it", "What a classifier says of your images", "try", (try_it_pages.router,)),
    Section(
        "Runs",
        "All runs, what trains now, leaderboards, searches and sweeps; start a training",
        "runs/",
        (run_pages.router, one_run_pages.router, search_pages.router, start_pages.router),
    ),
    Section(
        "Data",
        "Images by label, part and finding; confusion matrix; labels and their review",
        "data/",
        (gallery_pages.router, review_pages.router, label_pages.router),
    ),
    Section(
        "Individuals",
        "Who is this? Ask a gallery, confirm or name somebody new, and see when each was met",
        "identify/",
        (identify_pages.router,),
    ),
    Section(
        "In service",
        "Versions, champion, promotion; traffic and watching",
        "service/",
        (service_pages.router,),
    ),
    Section(
        "Specimens",
        "Slices of a specimen against known ones; a stack slice by slice",
        "specimens/",
        (specimen_pages.router,),
    ),
)


def include_dashboard(folder: Path) -> Callable[[FastAPI], None]:
    """What adds the pages to an application, over the runs below a folder."""

    def extend(app: FastAPI) -> None:
        service: Service = app.state.service
        prepare_pages()
        signer = SessionSigner(session_secret(_secret_file(service.settings)))
        app.state.dashboard = Dashboard(folder, service, signer, SECTIONS)
        service.refuse_page = lambda scope, problem: _refuse(app, scope, problem)
        app.include_router(static_files.router)
        for section in SECTIONS:
            for router in section.routers:
                app.include_router(router)
        for router in (login.router, home.router):
            app.include_router(router)
        for path in ("/", "/dashboard"):
            app.add_api_route(path, _to_the_pages, include_in_schema=False)

    return extend


def require_keys(settings: ServerSettings) -> None:
    """Refuse pages without keys where others than this machine may reach them.

    Raises:
        UsageError: there are none.
    """
    proxy = settings.proxy
    is_reached = proxy.proxies or proxy.allowed_hosts or proxy.root_path
    if settings.keys is None and is_reached:
        raise UsageError(
            "--proxies, --allowed-hosts and --root-path let others reach the dashboard, so keys "
            "are needed: make one with `holotype serve keys add NAME --keys keys.json --rights "
            "look,review,promote`, and give --keys keys.json."
        )


def _secret_file(settings: ServerSettings) -> Path:
    """Beside the keys, which it belongs to; else it only guards forms on loopback."""
    if settings.keys is not None:
        return settings.keys.with_name(f"{settings.keys.name}.session-secret")
    return cache_directory() / "dashboard" / "session-secret"


def _refuse(app: FastAPI, scope: Scope, problem: Problem) -> Response:
    """A refusal from before a page was asked, such as of a body that is too large."""
    return problem_page(Request({**scope, "app": app}), problem)


async def _to_the_pages(request: Request) -> Response:
    return RedirectResponse("dashboard/", 308)
