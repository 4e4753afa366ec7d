"""How a page is made: its router, its template, and what is said where it cannot be shown.

A page is a function of a router that `page_router` makes; it returns what `render` returns.
Templates lie beside the code and extend `layout.html.j2`. What every page keeps to:

- Values are escaped, and characters that steer a terminal or turn a line are shown as escapes.
- Forms send `csrf` along; a request that changes something without it is refused before the page
  is asked.
- Links are relative, made by `url("runs/")`, so that they hold behind any path prefix.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from holotype.dashboard_pages.addresses import query_string
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.static_files import static_url
from holotype.dashboard_pages.visitors import LoginNeeded, RightNeeded, keep_session, visitor_of
from holotype.errors import HolotypeError
from holotype.extras import extra_that_provides, install_command
from holotype.reporting.plot_labels import to_single_line
from holotype.reporting.templates import fixed, interval, signed, thousands
from holotype.serving.http.problems import Problem
from holotype.serving.http.request_body import Form, form_of
from holotype.serving.http.service import PAGES

CSP = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
SAFE_METHODS = ("GET", "HEAD")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose refusals are pages, and whose forms carry the token of the session."""

    def get_route_handler(self) -> Handler:
        answer = super().get_route_handler()

        async def answer_or_refuse(request: Request) -> Response:
            try:
                if request.method not in SAFE_METHODS:
                    await _check_form(request)
                return await answer(request)
            except LoginNeeded:
                return _to_login(request)
            except RightNeeded as error:
                told = f"Your key has not the right “{error.right}”. Ask whoever runs this server."
                return refusal_page(request, 403, "You may not do this", told)
            except HolotypeError as error:
                return refusal_page(request, 422, "This does not work", str(error))
            except Problem as problem:
                return problem_page(request, problem)
            except ModuleNotFoundError as error:
                extra = extra_that_provides(error.name or "")
                if extra is None:
                    raise
                told = f"This needs {error.name}, which is not installed: {install_command(extra)}"
                return refusal_page(request, 422, "This does not work", told)
            except RequestValidationError as error:
                where = str(error.errors()[0]["loc"][-1])
                told = f"The address says something of “{where}” that cannot be."
                return refusal_page(request, 422, "This address makes no sense", told)

        return answer_or_refuse


def page_router(path: str) -> APIRouter:
    """A router for pages below `/dashboard/` + path, such as `runs`."""
    prefix = f"{PAGES}{path}".rstrip("/")
    return APIRouter(prefix=prefix, route_class=PageRoute, include_in_schema=False)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page: the template with these values, and those that the layout needs."""
    visitor, dashboard = visitor_of(request), dashboard_of(request)
    text = (
        _environment()
        .get_template(template)
        .render(
            url=lambda path: relative_url(request, path),
            static=lambda name: relative_url(request, static_url(name)),
            csrf=dashboard.signer.form_token(visitor.session),
            visitor=visitor,
            sections=dashboard.sections,
            here=_path_below(request),
            **values,
        )
    )
    content = text.encode("utf-8", "backslashreplace")
    response = Response(content, status, media_type="text/html; charset=utf-8")
    response.headers["content-security-policy"] = CSP
    keep_session(request, response, visitor.session)
    return response


@cache
def prepare_pages() -> None:
    """Compile templates and import large libraries, which the first pages would wait for."""
    for template in _environment().list_templates(extensions=["j2"]):
        _environment().get_template(template)
    # Of indexes and predictions, and of the registry.
    for name in ("pandas", "pyarrow.compute", "pyarrow.parquet", "sqlalchemy.dialects.sqlite"):
        with suppress(ModuleNotFoundError):  # the page that needs it says how to install it
            import_module(name)


def redirect(request: Request, path: str) -> Response:
    """Go to another page of the dashboard, such as after a form."""
    return RedirectResponse(relative_url(request, path), 303)


def posted_form(request: Request) -> Form:
    """The form that was sent, with its token already checked."""
    found: Form = request.state.form
    return found


def relative_url(request: Request, path: str) -> str:
    """A link from this page to another one of the dashboard.

    Relative, since what stands before `/dashboard/` is known to the browser alone.
    """
    return "../" * _path_below(request).count("/") + path or "."


def refusal_page(request: Request, status: int, title: str, told: str) -> Response:
    """A page that says why there is none."""
    return render(request, "refusal.html.j2", status, title=title, told=told)


def problem_page(request: Request, problem: Problem) -> Response:
    """A refusal of the server, for a person to read."""
    body = problem.body("")
    told = "" if problem.status in (404, 405) else problem.detail  # it is about the API
    response = refusal_page(request, problem.status, str(body["title"]), told)
    response.headers.update(problem.headers)
    return response


async def _check_form(request: Request) -> None:
    """Read a form, and refuse it unless it was made for this session.

    Raises:
        LoginNeeded: nobody is logged in, and it is not the login.
        Problem: it is malformed, or the token is missing or of another session.
    """
    dashboard, visitor = dashboard_of(request), visitor_of(request)
    if not visitor.rights and _path_below(request) != "login":
        raise LoginNeeded
    limits = dashboard.service.settings.limits
    request.state.form = form = await form_of(request, limits.max_images)
    token = request.headers.get(CSRF_HEADER) or form.get(CSRF_FIELD)
    if not dashboard.signer.is_form_token(visitor.session, token):
        raise Problem("old_form")


def _to_login(request: Request) -> Response:
    here = _path_below(request)
    if request.method not in SAFE_METHODS:
        here = ""
    elif request.url.query:
        here += f"?{request.url.query}"
    return redirect(request, f"login?{query_string({'next': here})}")


def _path_below(request: Request) -> str:
    """The path after `/dashboard/`."""
    return str(request.scope["path"]).partition(PAGES)[2]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("holotype.dashboard_pages", ""),
        autoescape=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_legible,
    )
    environment.filters.update(
        thousands=thousands, fixed=fixed, signed=signed, interval=interval, exact=_exact,
        lines=_lines, percent=_percent, query=query_string,
    )  # fmt: skip
    return environment


def _legible(value: object) -> object:
    """A text on one line, whatever characters it holds; markup is what templates made."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return to_single_line(str(value)) if is_text else value


def _exact(text: str) -> Markup:
    """A text as it is, for values of fields that are sent back."""
    return escape(text)


def _lines(text: str) -> Markup:
    """A text of several lines, for `<pre>`."""
    return Markup("\n").join(escape(to_single_line(line)) for line in text.splitlines())


def _percent(share: float | None) -> str:
    """0.1234 as 12.3 %; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f} %"
