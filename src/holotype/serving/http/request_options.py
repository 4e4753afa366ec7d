"""The query of a request with images, as one value for each path.

Read here and not by the parameters of the endpoints: to resolve those takes FastAPI as long as all
else that the server does for a request. The OpenAPI description is made of the same values.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from holotype.serving.http.problems import Problem

ROUTE_KEY = "x-route-key"
MAX_KEY_LENGTH = 200


class NoOptions(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True)


class PredictOptions(NoOptions):
    """Of `/predict`."""

    top_k: Annotated[int | None, Field(ge=1, le=1000, description="So many classes.")] = None
    coverage: Annotated[
        float | None,
        Field(gt=0.5, lt=1, description="Answer with sets that hold the true class as often."),
    ] = None
    explain: Annotated[bool, Field(description="Answer with heatmaps too.")] = False


class ExplainOptions(NoOptions):
    """Of `/explain`."""

    class_name: Annotated[
        str | None, Field(alias="class", max_length=1000, description="The predicted one.")
    ] = None
    method: Annotated[
        Literal["auto", "cam", "occlusion"],
        Field(description="`auto` is `cam` where the classifier has one."),
    ] = "auto"


class NeighbourOptions(NoOptions):
    """Of `/neighbours`."""

    count: Annotated[int, Field(ge=1, le=100)] = 5


Options = TypeVar("Options", bound=NoOptions)


def options_of(request: Request, kind: type[Options]) -> Options:
    """The query of a request.

    Raises:
        Problem: a value is of another type, or out of its range.
    """
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem("invalid_parameter", f"{first['loc'][0]}: {first['type']}.") from None


def route_key_of(request: Request) -> str | None:
    """By what the arm of an experiment is chosen; None where the client does not say.

    Raises:
        Problem: it is too long.
    """
    key = request.headers.get(ROUTE_KEY)
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise Problem("invalid_parameter", f"{ROUTE_KEY}: too long.")
    return key


def parameters(kind: type[NoOptions]) -> list[dict[str, Any]]:
    """How the OpenAPI description says it."""
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "As GET /v1/models lists it.",
        "schema": {"type": "string"},
        "example": "cells",
    }
    key = {
        "name": ROUTE_KEY,
        "in": "header",
        "required": False,
        "description": "Requests of one key are answered by the same arm of an experiment.",
        "schema": {"type": "string", "maxLength": MAX_KEY_LENGTH},
        "example": "patient-17",
    }
    described = kind.model_json_schema()
    properties, required = described.get("properties", {}), described.get("required", ())
    query = [
        {
            "name": field,
            "in": "query",
            "required": field in required,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for field, schema in properties.items()
    ]
    return [name, key, *query]
