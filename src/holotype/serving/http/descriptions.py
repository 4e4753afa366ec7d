"""What the OpenAPI description says of bodies and refusals."""

from collections.abc import Mapping
from typing import Any

from holotype.serving.http.problems import MEDIA_TYPE, PROBLEMS
from holotype.serving.http.request_body import IMAGE_TYPES
from holotype.serving.http.request_options import NoOptions, parameters
from holotype.serving.http.schemas import REQUEST_ID, ProblemBody

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_RAW = dict.fromkeys(IMAGE_TYPES, _BINARY)
_FILES = {
    "schema": {
        "type": "object",
        "properties": {"images": {"type": "array", "items": _BINARY["schema"], "minItems": 1}},
        "required": ["images"],
    }
}

SEVERAL = "One image as the body, which is quickest, or several as files."
ONE = "One image."


def image_path(
    options: type[NoOptions], images: str = SEVERAL, more: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """How a path that takes images is described, as arguments of its route.

    Args:
        options: its query.
        images: what its body holds.
        more: answers that other such paths do not have, by status.
    """
    refusals = problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
    body = {
        "required": True,
        "description": images,
        "content": {**_RAW, "multipart/form-data": _FILES},
    }
    return {
        "responses": dict(sorted({**refusals, **(more or {})}.items())),
        "openapi_extra": {"requestBody": body, "parameters": parameters(options)},
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals with these statuses, each with examples."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    examples = {
        name: {
            "value": {
                "type": name,
                "title": title,
                "status": status,
                "detail": advice,
                "request_id": REQUEST_ID,
            }
        }
        for name, (its_status, title, advice) in PROBLEMS.items()
        if its_status == status
    }
    first = next(iter(examples.values()))["value"]["title"]
    found: dict[str, Any] = {
        "description": str(first),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"#/components/schemas/{ProblemBody.__name__}"},
                "examples": examples,
            }
        },
    }
    if status in (429, 503):
        retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        found["headers"] = {"Retry-After": retry}
    return found
