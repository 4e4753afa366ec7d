"""One request with images: read, handed to the engine, answered, and told to the traffic."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from holotype.serving.deployment import AnsweredImage, ModelVersion, Route
from holotype.serving.engine.job import EngineError, ImageRefused, Job, JobAnswer, Task
from holotype.serving.http.problems import Problem, problem_of
from holotype.serving.http.request_body import images_of
from holotype.serving.http.request_options import route_key_of
from holotype.serving.http.service import Service, client_of, service_of

SLOW_FACTOR = 6  # a map may take so many times the deadline of a prediction

Found = JobAnswer | ImageRefused


async def read_images(request: Request, max_images: int | None = None) -> "ImageRequest":
    """Read a request.

    Raises:
        Problem: no such model, or a body without images.
    """
    service = service_of(request)
    arrived, started = time.time(), time.perf_counter()
    key = route_key_of(request) or request.state.request_id
    try:
        route = service.traffic.route(request.path_params["name"], key)
    except KeyError:
        raise Problem("no_such_model") from None
    images = await images_of(request, max_images or service.settings.limits.max_images)
    return ImageRequest(request, service, route, key, images, arrived, started)


@dataclass(frozen=True, eq=False)
class ImageRequest:
    """A request that has been read.

    Attributes:
        route: who answers.
        key: what the route was chosen by.
        images: the bytes of each.
        arrived: in seconds since 1970.
        started: by `time.perf_counter`.
    """

    request: Request
    service: Service
    route: Route
    key: str
    images: Sequence[bytes]
    arrived: float
    started: float

    async def answers(self, task: Task, options: Mapping[str, Any]) -> list[Found]:
        """What the engine answers for each image.

        Raises:
            Problem: an image was not answered, for another reason than the image.
        """
        if task == "predict" and self.service.traffic.wants_image_facts:
            options = {**options, "image_facts": True}
        jobs = self._jobs(task, options, self.route.version)
        try:
            self.service.engine.submit(jobs)
        except EngineError as error:
            raise problem_of(error) from None
        if self.route.shadow is not None and task == "predict":
            self._ask_shadow(self.route.shadow, options)
        found = await _until_left(self.request, jobs)
        failed = None
        for place, one in enumerate(found):
            if task == "predict":
                self._tell(place, one, self.route.version)
            if isinstance(one, EngineError) and not isinstance(one, ImageRefused):
                failed = failed or problem_of(one)
        if failed is not None:
            raise failed
        return [one for one in found if isinstance(one, Found)]

    def all_answered(self, found: Sequence[Found]) -> list[JobAnswer]:
        """The answers, where no image was refused.

        Raises:
            Problem: of the first image that was.
        """
        for one in found:
            if isinstance(one, ImageRefused):
                raise problem_of(one)
        return [one for one in found if isinstance(one, JobAnswer)]

    def refused(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        """The images that could not be used, by their place, and why.

        Raises:
            Problem: of the first image, where none could be used.
        """
        problems = {
            place: problem_of(one)
            for place, one in enumerate(found)
            if isinstance(one, ImageRefused)
        }
        if len(problems) == len(found):
            raise problems[0]
        return [
            {"image": place, "problem": one.problem, "detail": one.detail}
            for place, one in problems.items()
        ]

    def response(self, body: Mapping[str, Any], found: Sequence[Found]) -> Response:
        """An answer in JSON, with who gave it and how long it took."""
        version = self.route.version
        answers = [one for one in found if isinstance(one, JobAnswer)]
        content = {
            "request_id": self.request.state.request_id,
            "model": version.model,
            "version": version.version,
            "digest": version.digest,
            **body,
            "timing": {
                "queue_ms": round(max(one.queue_ms for one in answers), 3),
                "run_ms": round(max(one.run_ms for one in answers), 3),
                "total_ms": round((time.perf_counter() - self.started) * 1000, 3),
            },
        }
        text = json.dumps(content, ensure_ascii=False)
        return Response(text.encode("utf-8", "replace"), media_type="application/json")

    def _jobs(self, task: Task, options: Mapping[str, Any], version: ModelVersion) -> list[Job]:
        jobs = [Job(task, version.digest, content, options, 0.0) for content in self.images]
        wait_s = self.service.settings.engine.deadline_s
        for job in jobs:
            job.deadline = job.arrived + wait_s * (SLOW_FACTOR if job.is_slow else 1)
        return jobs

    def _ask_shadow(self, shadow: ModelVersion, options: Mapping[str, Any]) -> None:
        """Ask the challenger for the same images, where nothing else waits."""
        jobs = self._jobs("predict", {**options, "explain": False}, shadow)
        for place, job in enumerate(jobs):
            job.background = True
            job.answer.add_done_callback(partial(self._tell_of, place, shadow))
        try:
            self.service.engine.submit(jobs)
        except EngineError as error:
            for job in jobs:
                job.fail(error)

    def _tell_of(self, place: int, by: ModelVersion, answer: "asyncio.Future[JobAnswer]") -> None:
        if not answer.cancelled():
            error = answer.exception()
            assert error is None or isinstance(error, EngineError)
            self._tell(place, error or answer.result(), by)

    def _tell(self, place: int, found: JobAnswer | EngineError, by: ModelVersion) -> None:
        """Count an answer, and give it to the traffic."""
        arm = self.route.arm if by is self.route.version else "shadow"
        outcome = "answered" if isinstance(found, JobAnswer) else problem_of(found).problem
        metrics = self.service.metrics
        metrics.count_image(by.model, by.version, arm, outcome)
        said: dict[str, Any] = {}
        if isinstance(found, JobAnswer):
            metrics.time_image(by.model, found.queue_ms, found.run_ms)
            said = {
                "predicted": found.facts["predicted"],
                "unknown": found.facts["unknown"],
                "probabilities_C": np.frombuffer(found.parts[0], np.float64),
                "embedding_D": np.frombuffer(found.parts[1], np.float32),
                "set": None if found.facts["set"] is None else tuple(found.facts["set"]),
                "image_facts": found.facts.get("image_facts"),
                "queue_ms": found.queue_ms,
                "decode_ms": found.facts["decode_ms"],
                "run_ms": found.run_ms,
            }
        self.service.traffic.on_answered(
            AnsweredImage(
                request_id=self.request.state.request_id,
                image=place,
                key=self.key,
                client=client_of(self.request),
                route=self.route,
                answered_by=by,
                time=self.arrived,
                outcome=outcome,
                total_ms=(time.perf_counter() - self.started) * 1000,
                content=self.images[place],
                **said,
            )
        )


async def _until_left(request: Request, jobs: Sequence[Job]) -> list[JobAnswer | EngineError]:
    """The answers; where the client leaves before they are there, what was not begun is dropped.

    Raises:
        Problem: the client left; nobody reads it.
    """
    answers = asyncio.gather(*(job.answer for job in jobs), return_exceptions=True)
    left = asyncio.ensure_future(_left(request))
    try:
        waiting: set[asyncio.Future[Any]] = {answers, left}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not answers.done():
            raise Problem("client_left")
        found = answers.result()
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, EngineError):
                raise one
        return [one for one in found if isinstance(one, JobAnswer | EngineError)]
    finally:
        left.cancel()
        answers.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
