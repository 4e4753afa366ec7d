"""Log in with a key of the server, and out again."""

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.sessions import COOKIE
from holotype.dashboard_pages.visitors import keep_session

router = page_router("")


@router.get("/login")
def show_login(request: Request, next: str = "") -> Response:
    return render(request, "login.html.j2", next=next, wrong="")


@router.post("/login")
def log_in(request: Request) -> Response:
    """Open a new session with a key: an id from before the login is worth nothing."""
    dashboard, form = dashboard_of(request), posted_form(request)
    next_page, keys = form.get("next"), dashboard.service.keys
    if keys is None:
        return redirect(request, "")
    key = keys.find(form.get("key").strip())
    if key is None or not key.rights:
        wrong = (
            "This is no key of this server." if key is None else "This key is for the API alone."
        )
        return render(request, "login.html.j2", 403, next=next_page, wrong=wrong)
    response = redirect(request, next_page if _is_below(next_page) else "")
    keep_session(request, response, dashboard.signer.new_session(key.name, key.sha256))
    return response


@router.post("/logout")
def log_out(request: Request) -> Response:
    response = redirect(request, "login")
    root = dashboard_of(request).service.settings.proxy.root_path
    response.delete_cookie(COOKIE, path=f"{root}/", httponly=True, samesite="strict")
    return response


def _is_below(path: str) -> bool:
    """Whether a link leads to a page of the dashboard, and to no other server."""
    plain = path.partition("?")[0]
    return (
        path.isprintable()
        and not any(part in plain for part in (":", "\\", "//", ".."))
        and not plain.startswith("/")
    )
