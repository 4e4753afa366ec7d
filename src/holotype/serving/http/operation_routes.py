"""`/healthz`, `/readyz`, `/metrics` and `/v1/feedback`."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from holotype.serving.deployment import NoFeedback, NoSuchImage, NoSuchRequest
from holotype.serving.http.descriptions import problems
from holotype.serving.http.problems import Problem
from holotype.serving.http.schemas import Feedback, FeedbackAnswer, Health
from holotype.serving.http.service import client_of, service_of

MAX_PLACES = 20  # of the images of a request that are named in a refusal

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def health() -> Health:
    """The process lives."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
async def ready(request: Request) -> Health:
    """Everything in service is open, and the server is not stopping."""
    service = service_of(request)
    if service.stopping:
        raise Problem("shutting_down", headers={"Retry-After": "5"})
    if not service.engine.ready:
        raise Problem("overloaded", "The classifiers are being opened.", {"Retry-After": "1"})
    return Health(status="ready")


@router.get("/metrics", response_class=Response, responses=problems(401, 429))
async def metrics(request: Request) -> Response:
    """Counters and gauges for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.post("/v1/feedback", responses=problems(400, 401, 404, 408, 413, 422, 429, 503))
async def feedback(request: Request, sent: Annotated[Feedback, Body()]) -> FeedbackAnswer:
    """The true class of an image that was answered, by the id of its request."""
    traffic = service_of(request).traffic
    try:
        found = await traffic.add_feedback(
            sent.request_id, sent.image, sent.label, client_of(request)
        )
    except OSError:
        raise Problem("feedback_not_kept", headers={"Retry-After": "5"}) from None
    except NoSuchRequest:
        raise Problem("no_such_request") from None
    except NoSuchImage as error:
        places = ", ".join(map(str, error.answered[:MAX_PLACES]))
        more = " …" if len(error.answered) > MAX_PLACES else ""
        said = f"Answered were the images {places}{more}." if places else "None was answered."
        raise Problem("no_such_image", f"{said} Places count from 0.") from None
    except NoFeedback:
        raise Problem("no_feedback") from None
    return FeedbackAnswer(
        request_id=sent.request_id, image=sent.image, kept=True,
        known=found.known, similar_class=found.similar_class,
    )  # fmt: skip
