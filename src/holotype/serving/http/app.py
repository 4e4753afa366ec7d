"""The FastAPI application: routes, refusals, and the description of both."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holotype.extras import installed_version
from holotype.serving.http import model_routes, operation_routes, prediction_routes
from holotype.serving.http.descriptions import problems
from holotype.serving.http.problems import Problem
from holotype.serving.http.request_guard import OPEN_PATHS, RequestGuard
from holotype.serving.http.schemas import ProblemBody
from holotype.serving.http.service import Service, service_of

HEADERS_TOO_LARGE = {"description": "The headers are too large"}  # which no path has seen
OF_STATUS = {404: "no_such_path", 405: "method_not_allowed", 401: "unauthorised"}


def build_app(service: Service) -> FastAPI:
    """The application of one server; further routers may be included in it."""
    app = FastAPI(
        title="Holotype",
        version=installed_version(),
        summary="Image classifiers with calibrated answers.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.root_path = service.settings.proxy.root_path  # as an argument it is deprecated
    app.state.service = service
    service.metrics.add_gauges(service.gauges)
    app.add_middleware(RequestGuard, service=service)
    for routes in (operation_routes, model_routes, prediction_routes):
        app.include_router(routes.router)
    app.add_exception_handler(Problem, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    app.add_exception_handler(HTTPException, _refuse_path)
    _describe(app)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request.state.request_id)


async def _refuse_parameter(request: Request, error: Exception) -> Response:
    """What does not validate, by its name; its value is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"][:2])
    kind = "invalid_body" if first["loc"][:1] == ("body",) else "invalid_parameter"
    is_named = "extra" not in first["type"] and "json" not in first["type"]  # else it is theirs
    detail = f"{where}: {first['type']}." if is_named else "The body does not fit its schema."
    return Problem(kind, detail).response(request.state.request_id)


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = error.__cause__  # what our guard refused while FastAPI read the body
    if not isinstance(problem, Problem):
        problem = Problem(OF_STATUS.get(error.status_code, "bad_request"), headers=error.headers)
    return service_of(request).refusal(request.scope, problem)


def _describe(app: FastAPI) -> None:
    """What the description says beyond the routes: refusals and keys."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        description = made()
        parts = description.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        schemas[ProblemBody.__name__] = ProblemBody.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        bearer = {
            "type": "http",
            "scheme": "bearer",
            "description": "A key that `holotype serve keys add` made; none is needed on loopback.",
        }
        parts["securitySchemes"] = {"key": bearer}
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                operation["security"] = [] if path in OPEN_PATHS else [{"key": []}, {}]
                operation["responses"] |= {"421": problems(421)[421], "431": HEADERS_TOO_LARGE}
                if method == "post":
                    operation["responses"]["403"] = problems(403)[403]
        return description

    app.openapi = openapi  # type: ignore[method-assign]
