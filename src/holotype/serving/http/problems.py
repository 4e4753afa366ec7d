"""Refusals as `application/problem+json` (RFC 9457): one shape for every error of the API.

No text of a request is in them: what a client sent may be shown to somebody else, or logged.
"""

import json
from collections.abc import Mapping

from starlette.responses import Response

from holotype.serving.engine.job import (
    DeadlineExceeded,
    EngineError,
    ImageRefused,
    JobRefused,
    QueueFull,
)

MEDIA_TYPE = "application/problem+json"

# problem -> status, title, what to do
PROBLEMS: dict[str, tuple[int, str, str]] = {
    "no_such_path": (404, "There is nothing at this path", "See /openapi.json."),
    "method_not_allowed": (405, "This path has no such method", "See /openapi.json."),
    "no_such_model": (404, "No model of this name is served", "GET /v1/models lists them."),
    "no_such_request": (404, "No answered request of this id is known", "Send its request_id."),
    "no_such_image": (
        404, "No image at this place of the request was answered", "Places count from 0.",
    ),
    "no_feedback": (404, "This server keeps no feedback", "Start it with a request log."),
    "bad_request": (400, "The request is not valid HTTP for this path", "See /openapi.json."),
    "old_form": (403, "This form is too old", "Load the page again, and send it once more."),
    "no_right": (403, "This key may not do this", "Make a key with the right that is needed."),
    "cross_site": (403, "A page of another site sent this", "Send it from a program."),
    "wrong_host": (421, "This server does not answer for this host", "Use one of its names."),
    "unauthorised": (401, "A valid key is needed", "Send Authorization: Bearer KEY."),
    "too_many_requests": (429, "The key has used up its rate", "Wait as Retry-After says."),
    "invalid_parameter": (422, "A parameter is missing or out of range", "See /openapi.json."),
    "invalid_body": (422, "The body is not what this path expects", "See /openapi.json."),
    "no_image": (422, "The request holds no image", "Send one as the body, or as a file field."),
    "too_many_images": (413, "The request holds too many images", "Send fewer at a time."),
    "body_too_large": (413, "The body is too large", "Scale images down, or send fewer."),
    "unsupported_media_type": (
        415, "The body is of another type", "Send image/jpeg, image/png, image/webp or multipart.",
    ),
    "slow_body": (408, "The body took too long to arrive", "Send it again, faster."),
    "client_left": (499, "The client left before the answer", "Wait longer."),
    "empty_file": (422, "The image has 0 bytes", "Send the file again."),
    "not_an_image": (422, "The bytes are no image that is read here", "Send JPEG, PNG or WebP."),
    "unsupported_format": (422, "This image format is not read here", "Send JPEG, PNG or WebP."),
    "unsupported_mode": (422, "This kind of pixel is not read", "Save it with 8 bits a channel."),
    "truncated_image": (422, "The image is cut off or damaged", "Send the whole file again."),
    "too_many_pixels": (422, "The image has too many pixels", "Scale it down."),
    "unreadable_file": (422, "The image cannot be read", "Send the file again."),
    "not_possible": (422, "This classifier cannot do this", "See GET /v1/models/NAME."),
    "overloaded": (503, "The server is busy", "Come again as Retry-After says."),
    "shutting_down": (503, "The server is shutting down", "Come again as Retry-After says."),
    "feedback_not_kept": (503, "The feedback was not written", "Come again as Retry-After says."),
    "deadline_exceeded": (504, "The image was not answered in time", "Come again later."),
    "worker_died": (500, "The process that worked on this image ended", "Send it again."),
    "internal_error": (500, "The server met what it did not expect", "Tell whoever runs it."),
}  # fmt: skip


class Problem(Exception):
    """A request that is refused.

    Attributes:
        problem: a key of `PROBLEMS`.
        detail: what is said besides; of the server's own words only.
        headers: of the response.
    """

    def __init__(
        self, problem: str, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.problem = problem
        self.detail = detail or PROBLEMS[problem][2]
        self.headers = dict(headers or {})
        super().__init__(problem)

    @property
    def status(self) -> int:
        return PROBLEMS[self.problem][0]

    def body(self, request_id: str) -> dict[str, object]:
        return {
            "type": self.problem,
            "title": PROBLEMS[self.problem][1],
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        return Response(
            json.dumps(self.body(request_id)), self.status, self.headers, media_type=MEDIA_TYPE
        )


def problem_of(error: EngineError) -> Problem:
    """How the API says that the engine did not answer."""
    match error:
        case QueueFull():
            return Problem("overloaded", headers={"Retry-After": str(error.retry_after_s)})
        case DeadlineExceeded():
            return Problem("deadline_exceeded")
        case ImageRefused():
            known = error.problem in PROBLEMS
            return Problem(error.problem if known else "unreadable_file", error.detail)
        case JobRefused():
            return Problem("not_possible", str(error))
        case _:
            return Problem("worker_died")
